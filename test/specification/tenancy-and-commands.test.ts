/** What the operator does and sees: organisations, blocked senders, messages, and a server that does not start. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { type TestContext, test } from 'node:test';
import { cleanUp } from '../../src/testing/clean-up.ts';
import { createTestDatabase } from '../../src/testing/database.ts';
import { freePort } from '../../src/testing/free-port.ts';
import { connectSmtp } from '../../src/testing/smtp-client.ts';
import { temporaryFolder } from '../../src/testing/temporary-folder.ts';
import { waitFor } from '../../src/testing/wait-for.ts';
import { acceptedId } from './support/assertions.ts';
import { type Ingest, runCli, startIngest, wireText } from './support/ingest.ts';
import { CSV, filePart, mail, mailWith, multipart, PDF, part, textPart, UNREADABLE } from './support/mails.ts';
import { sha256 } from './support/objects.ts';

const addressOf = (slug: string): string => `orders+${slug}@orderflow.example.com`;
const SECONDS = { timeoutMs: 10_000 };
const BLOCKED = '550 5.7.1 Sender not accepted';

/** What MAIL and RCPT are answered, without a mail. */
async function probe(ingest: Ingest, from: string, to: string): Promise<readonly [string, string]> {
  const client = await connectSmtp({ port: ingest.port });
  try {
    await client.readReply();
    await client.command('EHLO probe.example');
    const mailReply = wireText(await client.command(`MAIL FROM:<${from}>`));
    return [mailReply, wireText(await client.command(`RCPT TO:<${to}>`))];
  } finally {
    client.close();
  }
}

test('Organisations and blocked senders', async (t) => {
  const ingest = await startIngest(t, { organisations: ['acme', 'globex'] });
  const until = (what: string, wanted: readonly [string, string], from: string, to: string) =>
    waitFor(async () => String(await probe(ingest, from, to)) === String(wanted), { ...SECONDS, what });
  const OK = '250 2.1.0 Sender ok';
  const TAKEN = '250 2.1.5 Recipient ok';

  await t.test('org add works at once, also right after the address was refused', async () => {
    const to = [addressOf('newco')];
    assert.equal(await ingest.send({ to, data: 'x' }), '550 5.1.1 Unknown recipient');
    const { code, stdout } = await ingest.cli('org', 'add', 'newco', '--name', 'New & Co');
    assert.equal(code, 0);
    const id = acceptedId(await ingest.send({ to, data: mailWith([PDF]) }));
    await ingest.rows.settled();
    const { org_id } = await ingest.rows.message(id);
    assert.ok(stdout.toString().includes(org_id));
    const listed = JSON.parse((await ingest.cli('org', 'list', '--json')).stdout.toString());
    assert.deepEqual(listed.at(-1), { id: org_id, slug: 'newco', name: 'New & Co', disabled: false });
    assert.equal((await ingest.cli('org', 'add', 'newco')).code, 1);
    assert.equal((await ingest.cli('org', 'add', 'New Co')).code, 2);
  });

  await t.test('a disabled organisation: 550 5.2.1 within seconds, and again mail when it is enabled', async () => {
    const to = addressOf('globex');
    const setDisabled = (disabled: boolean) =>
      ingest.pool.query(`UPDATE org SET settings_json = $1 WHERE slug = 'globex'`, [{ disabled }]);
    await setDisabled(true);
    await until('the organisation closed', [OK, '550 5.2.1 Mailbox disabled'], 'b@c.example', to);
    assert.equal(await ingest.send({ to: [to], data: 'x' }), '550 5.2.1 Mailbox disabled');
    assert.match((await ingest.cli('org', 'list')).stdout.toString(), /globex\s+\S+\s+disabled/);
    await setDisabled(false);
    await until('the organisation open', [OK, TAKEN], 'b@c.example', to);
  });

  await t.test('block add for all: 550 5.7.1 at MAIL within seconds, until block remove', async () => {
    const from = 'Spammer@Example.net';
    assert.deepEqual(await probe(ingest, from, addressOf('acme')), [OK, TAKEN]);
    assert.equal((await ingest.cli('block', 'add', 'spammer@example.net')).code, 0);
    await until('the block', [BLOCKED, '503 5.5.1 Bad sequence of commands'], from, addressOf('acme'));
    assert.deepEqual(await probe(ingest, 'other@example.net', addressOf('acme')), [OK, TAKEN]);
    const [blocked] = JSON.parse((await ingest.cli('block', 'list', '--json')).stdout.toString());
    assert.deepEqual([blocked.pattern, blocked.org_id], ['spammer@example.net', null]);
    assert.equal((await ingest.cli('block', 'remove', 'spammer@example.net')).code, 0);
    await until('the end of the block', [OK, TAKEN], from, addressOf('acme'));
  });

  await t.test('block add --org: 550 5.7.1 at RCPT for that organisation, the others take the mail', async () => {
    const from = 'news@shop.example';
    assert.equal((await ingest.cli('block', 'add', '@shop.example', '--org', 'acme')).code, 0);
    await until('the block', [OK, BLOCKED], from, addressOf('acme'));
    assert.equal(await ingest.send({ from, to: [addressOf('acme')], data: 'x' }), BLOCKED);
    const to = [addressOf('acme'), addressOf('globex')];
    const id = acceptedId(await ingest.send({ from, to, data: mailWith([CSV]) }));
    assert.equal((await ingest.rows.message(id)).org_id, ingest.orgId('globex'));
    assert.deepEqual(await probe(ingest, 'x@sub.shop.example', addressOf('acme')), [OK, TAKEN]);
  });

  await t.test(
    'row-level security: an organisation sees its own messages and documents, and nothing of another',
    async () => {
      await ingest.take(mailWith([PDF]), { to: [addressOf('acme')] });
      for (const slug of ['acme', 'globex', 'newco']) {
        const { rows: known } = await ingest.pool.query('SELECT id FROM org WHERE slug = $1', [slug]);
        const client = await ingest.pool.connect();
        try {
          await client.query('BEGIN; SET LOCAL ROLE orderflow_tenant');
          await client.query(`SELECT set_config('app.org_id', $1, true)`, [known[0].id]);
          for (const table of ['inbound_message', 'document']) {
            const { rows } = await client.query(`SELECT DISTINCT org_id FROM ${table}`);
            assert.deepEqual(rows, [{ org_id: known[0].id }]);
          }
        } finally {
          await client.query('ROLLBACK');
          client.release();
        }
      }
    },
  );
});

test('Looking at messages', async (t) => {
  const ingest = await startIngest(t, { organisations: ['acme', 'globex'] });
  const data = mailWith([PDF, CSV], ['Subject: Order \x1b[2J 4711']);
  const { message, documents } = await ingest.take(data);
  const failed = await ingest.take('Content-Type: message/rfc822\r\n\r\n'.repeat(200));
  const other = await ingest.take(mail(textPart('words')), { to: [addressOf('globex')] });
  const list = async (...options: readonly string[]): Promise<readonly Record<string, unknown>[]> =>
    JSON.parse((await ingest.cli('messages', 'list', '--json', ...options)).stdout.toString());

  await t.test('messages list: newest first, by organisation and by status', async () => {
    const ids = (found: readonly Record<string, unknown>[]) => found.map(({ id }) => id);
    assert.deepEqual(ids(await list()), [other.message.id, failed.message.id, message.id]);
    assert.deepEqual(ids(await list('--org', 'globex')), [other.message.id]);
    assert.deepEqual(ids(await list('--status', 'FAILED')), [failed.message.id]);
    assert.deepEqual(ids(await list('--status', 'PARSED', '--org', 'acme')), [message.id]);
    const { stdout } = await ingest.cli('messages', 'list');
    assert.ok(!stdout.includes('\x1b'), 'no escape sequence of a sender reaches the terminal');
  });

  await t.test('messages show: documents and the decision on every part', async () => {
    const shown = JSON.parse((await ingest.cli('messages', 'show', message.id, '--json')).stdout.toString());
    assert.deepEqual(
      [shown.id, shown.status, shown.org_slug, shown.raw_sha256, shown.trace_id, shown.parts_json],
      [message.id, 'PARSED', 'acme', sha256(data), message.trace_id, message.parts_json],
    );
    assert.deepEqual(
      shown.documents.map((one: { id: string; sha256: string }) => [one.id, one.sha256]),
      documents.map(({ id, sha256 }) => [id, sha256]),
    );
    const text = (await ingest.cli('messages', 'show', message.id)).stdout.toString();
    for (const expected of ['order.pdf', 'order.csv', 'no-file-name-and-no-attachment-disposition', message.trace_id]) {
      assert.ok(text.includes(expected), text);
    }
    const why = (await ingest.cli('messages', 'show', failed.message.id)).stdout.toString();
    assert.match(why, /FAILED[\s\S]*limit-exceeded/);
  });

  await t.test(
    'messages list and show: what could be read only with a recovery, and of what nothing could',
    async () => {
      const junk = part(
        ['Content-Type: application/pdf; name=noted.pdf', 'Content-Transfer-Encoding: base64'],
        'JVBERi0xLjcK!!!!',
      );
      const noted = await ingest.take(mail(multipart('mixed', [junk])));
      const unreadable = await ingest.take(mail(multipart('mixed', [UNREADABLE])));
      const [newest, second] = await list();
      assert.deepEqual([newest?.status, second?.status], ['FAILED', 'PARSED']);
      const text = 'noted.pdf: base64 with characters outside its alphabet, left out';
      assert.deepEqual(second?.notes, [{ code: 'base64-junk', part: '1', text }]);
      assert.deepEqual(second?.notes, noted.message.notes_json);
      const show = async (id: string) => (await ingest.cli('messages', 'show', id)).stdout.toString();
      assert.ok((await show(noted.message.id)).includes(text));
      assert.match(
        await show(unreadable.message.id),
        /\nfailed +the mail says it has parts, but none could be found in it \(no-part-readable\)\n/,
      );
      assert.match(
        await show(unreadable.message.id),
        /\npart 1 +boundary-never-appears +a multipart whose boundary never/,
      );
    },
  );

  await t.test('messages show: a forwarded mail, whose documents lie inside another', async () => {
    const inside = mail(multipart('mixed', [filePart(CSV)])).toString('latin1');
    const forwarded = part(['Content-Type: message/rfc822', 'Content-Disposition: attachment; filename=a.eml'], inside);
    const { message: outer } = await ingest.take(mail(multipart('mixed', [textPart('see below'), forwarded])));
    const { code, stdout } = await ingest.cli('messages', 'show', outer.id, '--json');
    assert.equal(code, 0);
    assert.deepEqual(
      JSON.parse(stdout.toString()).documents.map((one: { part_path: string; file_name: string }) => [
        one.part_path,
        one.file_name,
      ]),
      [
        ['2', 'a.eml'],
        ['2.m.1', 'order.csv'],
      ],
    );
  });

  await t.test('messages raw: the mail byte for byte', async () => {
    const { code, stdout } = await ingest.cli('messages', 'raw', message.id);
    assert.equal(code, 0);
    assert.ok(stdout.equals(data));
  });

  await t.test(
    'a message that is not there ends with 1, what is no id with 2; both in a line, without a stack',
    async () => {
      const nobody = '01890a5d-ac96-774b-bcce-b302099a8057';
      for (const [id, expected] of [
        [nobody, 1],
        ['no-id', 2],
      ] as const) {
        for (const command of ['show', 'raw']) {
          const { code, stdout, stderr } = await ingest.cli('messages', command, id);
          assert.deepEqual([code, stdout.length], [expected, 0]);
          assert.ok(stderr.startsWith('error: ') && !/\n\s+at /.test(stderr), stderr);
        }
      }
    },
  );

  await t.test('send: the reply, the documents, 0; refused: the reply and 1', async () => {
    const smtp = ['--smtp', `127.0.0.1:${ingest.port}`];
    const sent = await ingest.cli('send', '--to', 'acme', ...smtp, PDF.path, CSV.path);
    assert.equal(sent.code, 0, sent.stderr);
    assert.match(sent.stdout.toString(), /^250 2\.0\.0 accepted \S+\n/);
    assert.ok(sent.stdout.includes(sha256(PDF.content)) && sent.stdout.includes(sha256(CSV.content)));
    const refused = await ingest.cli('send', '--to', 'nobody', ...smtp, PDF.path);
    assert.equal(refused.code, 1);
    assert.match(refused.stderr, /550 5\.1\.1 Unknown recipient/);
  });
});

test('A server that cannot start says why in a line, and how to mend it, and ends', async (t) => {
  const start = async (t: TestContext, env: Readonly<Record<string, string>>) => {
    const [dataDir, database] = [await temporaryFolder(t), await createTestDatabase()];
    cleanUp(t, () => database.close());
    const ports = { SMTP_PORT: String(await freePort()), HTTP_PORT: String(await freePort()) };
    const ended = await runCli({ DATA_DIR: dataDir, DATABASE_URL: database.url, ...ports, ...env }, ['start']);
    assert.doesNotMatch(ended.stderr, /\n\s+at /);
    assert.doesNotMatch(ended.stderr, /hunter2/);
    return { code: ended.code, lines: ended.stderr.split('\n').filter((line) => line.startsWith('error: ')) };
  };
  const taken = async (t: TestContext): Promise<string> => {
    const server = createServer().listen(0, '127.0.0.1');
    await once(server, 'listening');
    cleanUp(t, () => void server.close());
    return String((server.address() as { port: number }).port);
  };

  await t.test('wrong and unknown settings: 2, a line for each', async (t) => {
    const wrong = {
      SMTP_PORT: 'x',
      SMTP_MAX_MESSAGE_SIZE: '0',
      SMTP_PROT: '25',
      LOG_LEVEL: 'loud',
      HTTP_PORT: '70000',
    };
    const { code, lines } = await start(t, wrong);
    assert.equal(code, 2);
    for (const name of Object.keys(wrong))
      assert.equal(lines.filter((line) => line.includes(name)).length >= 1, true, name);
    assert.equal(lines.length, 5, lines.join('\n'));
    assert.ok(
      lines.some((line) => line.includes('SMTP_PROT') && line.includes('SMTP_PORT')),
      'what was meant',
    );
  });
  await t.test('a wrong REDIS_URL: 2, without its value', async (t) => {
    const { code, lines } = await start(t, { REDIS_URL: 'redis.example.com:hunter2' });
    assert.deepEqual([code, lines.length], [2, 1]);
    assert.match(lines.join(), /REDIS_URL \(value not shown\): must be a URL such as redis:/);
  });
  await t.test('the SMTP port is taken: 1', async (t) => {
    const { code, lines } = await start(t, { SMTP_PORT: await taken(t) });
    assert.deepEqual([code, lines.length], [1, 1]);
    assert.match(lines[0] ?? '', /SMTP_PORT.*another program/);
  });
  await t.test('the HTTP port is taken: 1', async (t) => {
    const { code, lines } = await start(t, { HTTP_PORT: await taken(t) });
    assert.deepEqual([code, lines.length], [1, 1]);
    assert.match(lines[0] ?? '', /HTTP_PORT/);
  });
  await t.test('the database refuses connections, or does not exist: 1', async (t) => {
    const refused = await start(t, { DATABASE_URL: `postgresql://app:hunter2@127.0.0.1:${await freePort()}/orders` });
    assert.deepEqual([refused.code, refused.lines.length], [1, 1]);
    assert.match(refused.lines[0] ?? '', /DATABASE_URL: .*refuses connections/);
    const database = await createTestDatabase();
    cleanUp(t, () => database.close());
    const absent = await start(t, { DATABASE_URL: database.url.replace(/\/test_\w+$/, '/no_such_database') });
    assert.deepEqual([absent.code, absent.lines.length], [1, 1]);
    assert.match(absent.lines[0] ?? '', /DATABASE_URL: .*does not exist/);
  });
});
