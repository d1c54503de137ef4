import assert from 'node:assert/strict';
import { describe, it, type TestContext } from 'node:test';
import type pg from 'pg';
import pino from 'pino';
import { createFileObjectStore } from '../adapters/fs/object-store.ts';
import { openTraceExport } from '../adapters/opentelemetry/export.ts';
import { createPostgresMessageStore } from '../adapters/postgres/message-store.ts';
import { createPostgresBlockList, createPostgresOrganisations } from '../adapters/postgres/organisations.ts';
import { createRecorder, type Recorder } from '../messages/recorder.ts';
import { RecordError } from '../ports/message-store.ts';
import { createRawStore } from '../rawstore/index.ts';
import { createRouter } from '../routing/index.ts';
import type { MailBody, Mailbox, MailCommand, MailReceiver, MailTransaction, SessionFacts } from '../smtp/index.ts';
import { mailBodyOf } from '../smtp/testing/mail-body.ts';
import { createBoundedLines } from '../telemetry/bounded-lines.ts';
import { createMetrics } from '../telemetry/metrics.ts';
import type { Tracing } from '../telemetry/tracing.ts';
import { startOtlpReceiver } from '../testing/otlp-receiver.ts';
import { addOrganisation, openTestPool } from '../testing/postgres-fixtures.ts';
import { recordingLog } from '../testing/recording-log.ts';
import { temporaryFolder } from '../testing/temporary-folder.ts';
import { createIntake } from './intake.ts';
import { refusals } from './refusals.ts';

const session: SessionFacts = {
  sessionId: 's',
  remoteAddress: '127.0.0.1',
  remotePort: 1,
  heloName: 'client.example',
  tls: null,
};
const never = new AbortController().signal;

const mailbox = (address: string): Mailbox => {
  const at = address.lastIndexOf('@');
  return { localPart: address.slice(0, at), domain: address.slice(at + 1), address };
};

const command = (from: string | null): MailCommand => ({
  reversePath: from === null ? null : mailbox(from),
  declaredSizeBytes: null,
  body: '8BITMIME',
  smtputf8: false,
});

interface House {
  readonly pool: pg.Pool;
  readonly intake: MailReceiver;
  /** Keys of all raw objects there are. */
  objects(): Promise<string[]>;
  rows(): Promise<Record<string, unknown>[]>;
  conflicts(): Promise<Record<string, unknown>[]>;
  /** Of the log, each as level and text. */
  readonly lines: readonly string[];
}

/** The real database and file store; `record` stands between the two where a test wants a fault. */
async function openHouse(
  t: TestContext,
  wrap: (recorder: Recorder) => Recorder = (recorder) => recorder,
  tracing?: Tracing,
): Promise<House> {
  const { pool } = await openTestPool(t);
  await addOrganisation(pool, 'acme');
  await addOrganisation(pool, 'globex');
  const objects = await createFileObjectStore({ rootDir: await temporaryFolder(t) });
  const { log, lines } = recordingLog();
  const intake = createIntake({
    router: createRouter({
      domains: ['orders.example'],
      organisations: createPostgresOrganisations({ pool }),
      blockedSenders: createPostgresBlockList({ pool }),
      cacheMs: 0,
    }),
    rawStore: createRawStore({ objects }),
    recorder: wrap(createRecorder({ store: createPostgresMessageStore({ pool }) })),
    log,
    lines: createBoundedLines({ log }),
    metrics: createMetrics(),
    tracing,
  });
  return {
    pool,
    intake,
    objects: async () => (await Array.fromAsync(objects.list(''))).map(({ key }) => key),
    rows: async () => (await pool.query('SELECT * FROM inbound_message ORDER BY created_at, id')).rows,
    conflicts: async () => (await pool.query('SELECT * FROM inbound_conflict ORDER BY created_at, id')).rows,
    lines,
  };
}

async function begin(
  house: House,
  to: readonly string[],
  from: string | null = 'buyer@example.com',
): Promise<MailTransaction> {
  const transaction = await house.intake.begin(session, command(from), never);
  assert.ok(!('refusal' in transaction));
  for (const address of to) assert.equal(await transaction.addRecipient(mailbox(address), never), undefined);
  return transaction;
}

async function* chunks(data: Buffer): AsyncGenerator<Buffer> {
  for (let at = 0; at < data.length; at += 65_536) yield data.subarray(at, at + 65_536);
}

const bodyOf = (data: Buffer): MailBody => mailBodyOf(chunks(data));

async function send(
  house: House,
  data: Buffer | string,
  to = ['orders+acme@orders.example'],
  from?: string | null,
): Promise<string> {
  const transaction = await begin(house, to, from);
  assert.equal(await transaction.body(bodyOf(Buffer.from(data)), never), undefined);
  const outcome = await transaction.commit(never);
  return 'refusal' in outcome ? outcome.refusal.condition : outcome.acknowledgement;
}

const MAIL = 'Message-ID: <1@buyer.example>\r\nFrom: Buyer <b@example.com>\r\nSubject: Order\r\n\r\nbody\r\n';

const received = (count: number, name = 'Received') => `${name}: from hop.example by other.example\r\n`.repeat(count);

describe('a mail that goes round in a loop', () => {
  it('is refused when it has more than 100 Received fields, and leaves nothing', async (t) => {
    const house = await openHouse(t);
    for (const name of ['Received', 'received', 'RECEIVED ']) {
      const transaction = await begin(house, ['orders+acme@orders.example', 'orders+globex@orders.example']);
      const mail = Buffer.from(`${received(101, name)}${MAIL}`);
      assert.deepEqual(await transaction.body(bodyOf(mail), never), { refusal: refusals['routing-loop'] });
      await transaction.abort('refused');
    }
    assert.deepEqual([await house.rows(), await house.objects()], [[], []]);
  });

  it('is taken with 100, and whatever its body and its attached mails have', async (t) => {
    const house = await openHouse(t);
    assert.match(
      await send(house, `${received(100)}${received(200, 'X-Received')}${MAIL}${received(101)}`),
      /^accepted /,
    );
  });
});

describe('what two mails of one identity are', () => {
  it('a redelivery through another hop is a duplicate, and leaves no second object', async (t) => {
    const house = await openHouse(t);
    const first = await send(house, MAIL);
    const second = await send(house, `Received: from hop.example by other.example\r\n${MAIL}`);
    assert.equal(second, first.replace('accepted', 'duplicate of'));
    assert.equal((await house.objects()).length, 1);
  });

  it('other content under the same Message-ID is kept aside, with its object', async (t) => {
    const house = await openHouse(t);
    await send(house, MAIL);
    const second = await send(house, MAIL.replace('body', 'another order'));
    const [conflict] = await house.conflicts();
    assert.equal(second, `accepted ${conflict?.id}`);
    assert.equal((await house.rows()).length, 1);
    assert.ok((await house.objects()).includes(String(conflict?.raw_storage_key)));
    assert.deepEqual(house.lines, [
      'info mail accepted',
      'warn Message-ID is taken by a mail of other content: kept aside',
    ]);
  });

  const ORDER = 'Content-Type: text/plain\r\nDate: Mon, 2 Mar 2026 10:00:00 +0000\r\nTo: o@example.com\r\n';
  const OTHERS: readonly (readonly [string, string, string])[] = [
    ['another subject', 'Subject: Order', 'Subject: Order 2'],
    ['another sender', 'From: Buyer', 'From: Someone'],
    ['another recipient', 'To: o@', 'To: p@'],
    ['a Cc', 'To: o@', 'Cc: c@example.com\r\nTo: o@'],
    ['another date', '10:00:00', '10:00:01'],
    ['another charset', 'text/plain', 'text/plain; charset=utf-16'],
    ['another transfer encoding', 'To: o@', 'Content-Transfer-Encoding: base64\r\nTo: o@'],
  ];
  for (const [what, was, is] of OTHERS) {
    it(`${what} under the same Message-ID and body is another order: kept aside`, async (t) => {
      const house = await openHouse(t);
      const mail = ORDER + MAIL;
      await send(house, mail);
      const second = await send(house, mail.replace(was, is));
      const [conflict] = await house.conflicts();
      assert.equal(second, `accepted ${conflict?.id}`);
      assert.equal(await send(house, mail.replace(was, is)), `duplicate of ${conflict?.id}`);
      assert.match(await send(house, mail), /^duplicate of /);
      assert.equal((await house.objects()).length, 2);
    });
  }

  it('trace fields, folding and the order of fields make no other mail', async (t) => {
    const house = await openHouse(t);
    const first = await send(house, ORDER + MAIL);
    const trace = ['Return-Path: <x@y.example>', 'Authentication-Results: mx; spf=pass', 'DKIM-Signature: v=1; a=b'];
    const again = `${[...trace, 'ARC-Seal: i=1', 'X-Spam: no'].join('\r\n')}\r\n${MAIL}`;
    const folded = again.replace('Subject: Order\r\n', `${ORDER}SUBJECT:\r\n\tOrder \r\n`);
    assert.equal(await send(house, folded), first.replace('accepted', 'duplicate of'));
  });

  it('a mail without Message-ID is known again after an upgrade: its id is made of the content alone', async (t) => {
    const house = await openHouse(t);
    await send(house, MAIL.replace(/^Message-ID.*\r\n/, 'To: o@example.com\r\n'));
    const [row] = await house.rows();
    // Taken by version 0.1.0 from the same mail.
    assert.equal(
      row?.source_message_id,
      '<f21759fe34269f912a79aa0b45b229ce31f2b4cf12f3f04fd1bdce3164a0514e@synthetic.invalid>',
    );
  });

  for (const [what, mail] of [
    [
      'whose header never ends, beyond what we keep of it',
      (last: string) =>
        `Message-ID: <1@b.example>\r\nX-Long: ${'x'.repeat(60)}\r\n ${`${'y'.repeat(70)}\r\n `.repeat(20_000)}${last}\r\n`,
    ],
    [
      'with more header than we keep, and a body',
      (last: string) =>
        `Message-ID: <1@b.example>\r\nX: ${`${'y'.repeat(70)}\r\n `.repeat(20_000)}${last}\r\n\r\nbody\r\n`,
    ],
    [
      'whose lines end with a bare CR',
      (last: string) => `Message-ID: <1@b.example>\rSubject: x\r\r${'line\r'.repeat(400_000)}${last}\r`,
    ],
    ['that is all header', (last: string) => `Message-ID: <1@b.example>\r\nSubject: ${last}\r\n`],
    ['without header fields', (last: string) => `Dear all,\r\nplease send ${last} pieces\r\n`],
    [
      'without an empty line between header and text',
      (last: string) => `Message-ID: <1@b.example>\r\nplease send ${last} pieces\r\nthanks\r\n`,
    ],
  ] as const) {
    it(`two mails ${what} that differ at the end are two mails, and both are kept`, async (t) => {
      const house = await openHouse(t);
      await send(house, mail('1'));
      const second = await send(house, mail('2'));
      assert.match(second, /^accepted /);
      assert.equal((await house.rows()).length + (await house.conflicts()).length, 2);
      assert.equal((await house.objects()).length, 2);
    });
  }
});

describe('who gets a mail', () => {
  it('several organisations: a row and an object each; two addresses of one organisation: one', async (t) => {
    const house = await openHouse(t);
    const ack = await send(house, MAIL, [
      'orders+acme@orders.example',
      'Orders+ACME@Orders.Example',
      'orders+globex@orders.example',
    ]);
    assert.match(ack, /^accepted \S+ \S+$/);
    const rows = await house.rows();
    assert.deepEqual(rows.map((row) => row.to_email).sort(), [
      'orders+acme@orders.example',
      'orders+globex@orders.example',
    ]);
    assert.equal((await house.objects()).length, 2);
  });

  it('takes the header From for a null reverse-path, and keeps both forms', async (t) => {
    const house = await openHouse(t);
    await send(house, MAIL, undefined, null);
    const [row] = await house.rows();
    assert.equal(row?.from_email, 'b@example.com');
    assert.equal(row?.header_from, 'Buyer <b@example.com>');
    assert.equal(row?.reverse_path, null);
  });

  it('keeps the reverse-path as it was given, whatever the header says', async (t) => {
    const house = await openHouse(t);
    await send(house, MAIL, undefined, 'Bounce+1@Example.com');
    const [row] = await house.rows();
    assert.deepEqual([row?.reverse_path, row?.from_email], ['Bounce+1@Example.com', 'Bounce+1@Example.com']);
  });

  for (const [from, want] of [
    ['Jan', null],
    ['=?utf-8?Q?Erika_M=C3=BCller?=', null],
    ['MAILER DAEMON <>', null],
    ['a@evil.example@good.example', null],
    ['Doe, Jane <mailto:jane@example.com>', 'jane@example.com'],
    ['root, Jane <jane@example.com>', 'jane@example.com'],
    ['=?utf-8?B?RXJpa2EgPGVyaWthQGV4YW1wbGUuY29tPg==?=', 'erika@example.com'],
  ] as const) {
    it(`null reverse-path and "From: ${from}": from_email is ${want}`, async (t) => {
      const house = await openHouse(t);
      await send(house, `From: ${from}\r\nMessage-ID: <f@b.example>\r\n\r\nOrder\r\n`, undefined, null);
      const [row] = await house.rows();
      assert.equal(row?.from_email, want);
    });
  }

  it('keeps the reverse-path as from_email whatever the header says', async (t) => {
    const house = await openHouse(t);
    await send(house, 'From: Jan\r\nMessage-ID: <f@b.example>\r\n\r\nOrder\r\n', undefined, 'bounce@b.example');
    const [row] = await house.rows();
    assert.equal(row?.from_email, 'bounce@b.example');
  });
});

describe('a sender that is blocked by its From', () => {
  const both = ['orders+acme@orders.example', 'orders+globex@orders.example'];
  const mailFrom = (from: string) => MAIL.replace('Buyer <b@example.com>', from);
  const behind = (others: number) => [...Array(others).keys()].map((n) => `a${n}@good.example, `).join('');

  for (const [pattern, from] of [
    ['spam@bad.example', 'Spam <spam@bad.example>'],
    ['@bad.example', 'SPAM@BAD.example'],
    ['@.bad.example', 'spam@bad.example'],
    ['@.bad.example', 'spam@very.much.bad.example'],
    ['@xn--bcher-kva.example', Buffer.from('x@b\u00fccher.example').toString()],
    ['spam@bad.example', '"spam"@bad.example'],
    ['spam@bad.example', 'Someone <a@good.example>, spam@bad.example'],
    ['spam@bad.example', '=?utf-8?q?spam=40bad.example?='],
    ['@.bad.example', `x@${'a.'.repeat(400)}bad.example`],
    ['spam@bad.example', `${behind(9)}spam@bad.example`],
    ['spam@bad.example', `${'=?gb18030?q?=E4=B8?= '.repeat(1_000)}<spam@bad.example>`],
    ['spam@bad.example', `good@example.com${' '.repeat(30_000)}, Spam <spam@bad.example>`],
    ['spam@bad.example', `good@example.com, ${'=?gb18030?q?=E4=B8?= '.repeat(1_000)}<spam@bad.example>`],
  ] as const) {
    it(`${pattern} keeps "${from.slice(0, 50)}" out, and nothing is left of it`, async (t) => {
      const house = await openHouse(t);
      await createPostgresBlockList({ pool: house.pool }).block(pattern, null);
      for (const reversePath of [null, 'good@example.com']) {
        const transaction = await begin(house, both, reversePath);
        assert.deepEqual(await transaction.body(bodyOf(Buffer.from(mailFrom(from))), never), {
          refusal: refusals['sender-blocked'],
        });
        await transaction.abort('refused');
      }
      assert.deepEqual([await house.rows(), await house.objects()], [[], []]);
    });
  }

  for (const [pattern, from] of [
    ['@bad.example', 'spam@very.bad.example'],
    ['@.bad.example', 'spam@notbad.example'],
    ['spam@bad.example', 'spam@bad.example.org'],
    ['spam@bad.example', 'spam at bad'],
    ['spam@bad.example', '"spam@bad.example" <good@example.com>'],
    ['spam@bad.example', `${behind(10)}spam@bad.example`],
  ] as const) {
    it(`${pattern} does not keep ${from.slice(0, 50)} out`, async (t) => {
      const house = await openHouse(t);
      await createPostgresBlockList({ pool: house.pool }).block(pattern, null);
      assert.match(await send(house, mailFrom(from)), /^accepted /);
    });
  }

  it('is recorded for the organisations that do not block it, refused where all do', async (t) => {
    const house = await openHouse(t);
    const blockList = createPostgresBlockList({ pool: house.pool });
    const { rows } = await house.pool.query("SELECT id FROM org WHERE slug = 'acme'");
    await blockList.block('b@example.com', rows[0].id);
    const sent = await send(house, MAIL, both, null);
    const [row, ...others] = await house.rows();
    assert.equal(sent, `accepted ${row?.id}`);
    assert.deepEqual([row?.to_email, others], ['orders+globex@orders.example', []]);
    assert.deepEqual(await house.objects(), [row?.raw_storage_key]);
    assert.deepEqual(house.lines, [
      'info mail not recorded for an organisation that blocks its From',
      'info mail accepted',
    ]);

    await blockList.block('@example.com', null);
    const transaction = await begin(house, both, null);
    assert.deepEqual(await transaction.body(bodyOf(Buffer.from(MAIL)), never), { refusal: refusals['sender-blocked'] });
  });

  it('is judged behind a header of any size, and in a mail that is all header', async (t) => {
    const house = await openHouse(t);
    await createPostgresBlockList({ pool: house.pool }).block('b@example.com', null);
    const padding = `X-Padding: ${'y\r\n '.repeat(400_000)}\r\n`;
    for (const mail of [padding + MAIL, `${'X: y\r\n'.repeat(6_000)}${MAIL}`, 'From: b@example.com\r\n']) {
      const transaction = await begin(house, both, null);
      assert.deepEqual(await transaction.body(bodyOf(Buffer.from(mail)), never), {
        refusal: refusals['sender-blocked'],
      });
      await transaction.abort('refused');
    }
    assert.deepEqual(await house.objects(), []);
  });

  it('is told to try again when the list cannot be asked', async (t) => {
    const house = await openHouse(t);
    const transaction = await begin(house, both, null);
    await house.pool.query('ALTER TABLE blocked_sender RENAME TO gone');
    assert.deepEqual(await transaction.body(bodyOf(Buffer.from(MAIL)), never), { refusal: refusals.unavailable });
    await transaction.abort('refused');
    assert.deepEqual([await house.rows(), await house.objects()], [[], []]);
  });
});

describe('a transaction that does not come to its end', () => {
  it('stored and then aborted: the object goes', async (t) => {
    const house = await openHouse(t);
    const transaction = await begin(house, ['orders+acme@orders.example']);
    await transaction.body(bodyOf(Buffer.from(MAIL)), never);
    assert.equal((await house.objects()).length, 1);
    await transaction.abort('connection-lost');
    assert.deepEqual(await house.objects(), []);
  });

  it('aborted while the bytes flow: nothing stays, whichever ends first', async (t) => {
    const house = await openHouse(t);
    const transaction = await begin(house, ['orders+acme@orders.example']);
    const gate = Promise.withResolvers<void>();
    async function* slow(): AsyncGenerator<Buffer> {
      yield Buffer.from(MAIL);
      await gate.promise;
    }
    const storing = transaction.body(mailBodyOf(slow()), never);
    await transaction.abort('deadline');
    gate.resolve();
    await storing;
    assert.deepEqual(await house.objects(), []);
  });

  it('database refuses: 451, and the object goes', async (t) => {
    const house = await openHouse(t);
    await house.pool.query('ALTER TABLE inbound_message RENAME TO gone');
    assert.equal(await send(house, MAIL), 'unavailable');
    assert.deepEqual(await house.objects(), []);
  });

  it('outcome of the commit unknown: 451, and the object stays, for the row may be there', async (t) => {
    const house = await openHouse(t, (recorder) => ({
      async record(envelope) {
        await recorder.record(envelope);
        throw new RecordError('outcome-unknown', 'the answer to COMMIT was lost');
      },
    }));
    assert.equal(await send(house, MAIL), 'unavailable');
    const [row] = await house.rows();
    assert.deepEqual(await house.objects(), [row?.raw_storage_key]);
  });

  it('aborted while the commit is under way: the object stays', async (t) => {
    const may = Promise.withResolvers<void>();
    const house = await openHouse(t, (recorder) => ({
      async record(envelope) {
        await may.promise;
        return recorder.record(envelope);
      },
    }));
    const transaction = await begin(house, ['orders+acme@orders.example']);
    await transaction.body(bodyOf(Buffer.from(MAIL)), never);
    const committing = transaction.commit(never);
    await transaction.abort('deadline');
    may.resolve();
    await committing;
    const [row] = await house.rows();
    assert.deepEqual(await house.objects(), [row?.raw_storage_key]);
  });
});

describe('the spans of a mail', () => {
  async function openTracedHouse(t: TestContext, wrap?: (recorder: Recorder) => Recorder) {
    const receiver = await startOtlpReceiver(t);
    const tracing = openTraceExport({
      url: `${receiver.url}/v1/traces`,
      headers: {},
      serviceName: 'orders',
      resourceAttributes: {},
      sampler: { name: 'always_on', ratio: 1 },
      version: '0',
      log: pino({ level: 'silent' }),
    });
    const house = await openHouse(t, wrap, tracing);
    /** Name, status and what is said of the outcome or the fault, of all spans. */
    const told = async () => {
      await tracing.close();
      return receiver.spans.map(({ name, status, attributes }) =>
        [name, status.code ?? 0, attributes['orderflow.outcome'] ?? attributes['error.type'] ?? ''].join(' '),
      );
    };
    return { house, told };
  }

  it('say which step failed', async (t) => {
    const { house, told } = await openTracedHouse(t);
    await house.pool.query('ALTER TABLE inbound_message RENAME TO gone');
    assert.equal(await send(house, MAIL), 'unavailable');
    assert.deepEqual(await told(), ['store 0 ', 'commit 2 unavailable', 'smtp transaction 2 unavailable']);
  });

  it('do not call it an error that a mail is refused or its sender gone', async (t) => {
    const { house, told } = await openTracedHouse(t);
    await createPostgresBlockList({ pool: house.pool }).block('spam@example.com', null);
    assert.ok('refusal' in (await house.intake.begin(session, command('spam@example.com'), never)));
    const transaction = await begin(house, ['orders+acme@orders.example']);
    async function* torn(): AsyncGenerator<Buffer> {
      yield Buffer.from(MAIL);
      throw new Error('the connection is lost');
    }
    await assert.rejects(transaction.body(mailBodyOf(torn()), never));
    await transaction.abort('connection-lost');
    assert.deepEqual(await told(), ['smtp transaction 0 refused', 'store 0 ', 'smtp transaction 0 connection-lost']);
  });

  it('tell of the commit, not of the abort that came while it was under way', async (t) => {
    const may = Promise.withResolvers<void>();
    const { house, told } = await openTracedHouse(t, (recorder) => ({
      async record(envelope) {
        await may.promise;
        return recorder.record(envelope);
      },
    }));
    const transaction = await begin(house, ['orders+acme@orders.example']);
    await transaction.body(bodyOf(Buffer.from(MAIL)), never);
    const committing = transaction.commit(never);
    await transaction.abort('deadline');
    may.resolve();
    await committing;
    assert.deepEqual(await told(), ['store 0 ', 'commit 0 ', 'smtp transaction 0 accepted']);
  });
});
