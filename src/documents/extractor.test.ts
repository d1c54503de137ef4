import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { mkdir, readdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import type pg from 'pg';
import pino from 'pino';
import { createFileObjectStore } from '../adapters/fs/object-store.ts';
import { createPostgresExtractionStore } from '../adapters/postgres/extraction-store.ts';
import { createPostgresMessageStore } from '../adapters/postgres/message-store.ts';
import { createPostgresMessageViews } from '../adapters/postgres/message-views.ts';
import type { NewMessage } from '../ports/message-store.ts';
import type { ObjectStore } from '../ports/object-store.ts';
import type { StoreObjection } from '../ports/store-guard.ts';
import { createBoundedLines } from '../telemetry/bounded-lines.ts';
import { createMetrics, type Metrics } from '../telemetry/metrics.ts';
import type { TraceSpan } from '../telemetry/tracing.ts';
import { addOrganisation, newMessage, openTestPool } from '../testing/postgres-fixtures.ts';
import { temporaryFolder } from '../testing/temporary-folder.ts';
import { createExtractor, type ExtractionJob, type Extractor, type Run } from './extractor.ts';
import { PARSER_VERSION } from './parser-version.ts';

interface House {
  readonly pool: pg.Pool;
  readonly objects: ObjectStore;
  readonly folder: string;
  readonly extractor: Extractor;
  readonly lines: Record<string, unknown>[];
  readonly metrics: Metrics;
  /** A mail as intake leaves it: raw object, row RECEIVED, job. */
  received(mail: string): Promise<NewMessage>;
}

/** The worker on the real database and the real file store. */
async function openHouse(t: TestContext): Promise<House> {
  const { pool } = await openTestPool(t);
  const folder = await temporaryFolder(t);
  const objects = await createFileObjectStore({ rootDir: folder });
  const orgId = await addOrganisation(pool, 'acme');
  const messages = createPostgresMessageStore({ pool });
  const lines: Record<string, unknown>[] = [];
  const log = pino({ level: 'debug' }, { write: (line) => lines.push(JSON.parse(line)) });
  const store = createPostgresExtractionStore({ pool });
  const metrics = createMetrics();
  return {
    pool,
    objects,
    folder,
    lines,
    metrics,
    extractor: createExtractor({ objects, store, log, lines: createBoundedLines({ log }), metrics }),
    async received(mail) {
      const message = newMessage(orgId);
      await objects.put(message.rawStorageKey, once(Buffer.from(mail, 'latin1')));
      await messages.record([[message]]);
      return message;
    },
  };
}

async function* once(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  if (bytes.length > 0) yield bytes;
}

const jobOf = (message: NewMessage): ExtractionJob => ({ inboundMessageId: message.id, orgId: message.orgId });

const run = (over: Partial<Run> = {}): Run => ({
  attempt: 1,
  lastAttempt: false,
  signal: new AbortController().signal,
  ...over,
});

function multipart(parts: readonly string[], type = 'mixed'): string {
  const body = parts.map((part) => `--b\r\n${part}\r\n`).join('');
  return `Subject: x\r\nMIME-Version: 1.0\r\nContent-Type: multipart/${type}; boundary=b\r\n\r\n${body}--b--\r\n`;
}

const attachment = (name: string, content: string): string =>
  `Content-Type: application/pdf\r\nContent-Disposition: attachment; filename=${name}\r\n` +
  `Content-Transfer-Encoding: base64\r\n\r\n${Buffer.from(content).toString('base64')}`;

async function documents(pool: pg.Pool): Promise<Record<string, unknown>[]> {
  const { rows } = await pool.query(
    'SELECT part_path, file_name, mime_type, size_bytes, sha256, status, storage_key, error_json, id FROM document ORDER BY part_path',
  );
  return rows;
}

async function message(pool: pg.Pool): Promise<Record<string, unknown>> {
  const { rows } = await pool.query(
    'SELECT status, error_json, parts_json, notes_json, parser_version FROM inbound_message',
  );
  return rows[0];
}

async function extractJobs(pool: pg.Pool): Promise<unknown[]> {
  const { rows } = await pool.query(
    `SELECT job.payload FROM graphile_worker._private_jobs AS job
     JOIN graphile_worker._private_tasks AS task ON task.id = job.task_id
     WHERE task.identifier = 'extract_document' ORDER BY job.id`,
  );
  return rows.map(({ payload }) => payload);
}

const sha256 = (text: string): string => createHash('sha256').update(text).digest('hex');

async function files(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  return entries.filter((entry) => entry.isFile()).map(({ name }) => name);
}

describe('extracting the documents of a mail', () => {
  it('stores each attachment, writes its row, its decision and its job, and sets PARSED', async (t) => {
    const house = await openHouse(t);
    const received = await house.received(
      multipart([
        'Content-Type: text/plain\r\n\r\nhello',
        attachment('order.pdf', '%PDF-one'),
        attachment('two.pdf', 'two'),
      ]),
    );

    await house.extractor.extract(jobOf(received), run());

    const rows = await documents(house.pool);
    assert.deepEqual(
      rows.map((row) => [row.part_path, row.file_name, row.mime_type, row.size_bytes, row.sha256, row.status]),
      [
        ['2', 'order.pdf', 'application/pdf', 8, sha256('%PDF-one'), 'STORED'],
        ['3', 'two.pdf', 'application/pdf', 3, sha256('two'), 'STORED'],
      ],
    );
    const bytes = await Array.fromAsync(await house.objects.get(String(rows[0]?.storage_key)));
    assert.equal(Buffer.concat(bytes).toString(), '%PDF-one');
    const { status, parts_json } = await message(house.pool);
    assert.equal(status, 'PARSED');
    assert.deepEqual(
      (parts_json as { path: string; decision: string; reason: string }[]).map((part) => [
        part.path,
        part.decision,
        part.reason,
      ]),
      [
        ['1', 'skipped', 'no-file-name-and-no-attachment-disposition'],
        ['2', 'document', 'attachment'],
        ['3', 'document', 'attachment'],
      ],
    );
    assert.deepEqual(
      await extractJobs(house.pool),
      rows.map(({ id }) => ({ document_id: id, org_id: received.orgId, trace_id: received.traceId })),
    );
  });

  it('does nothing at all when it runs again', async (t) => {
    const house = await openHouse(t);
    const received = await house.received(multipart([attachment('order.pdf', 'one')]));
    await house.extractor.extract(jobOf(received), run());
    const before = [await documents(house.pool), await extractJobs(house.pool), await message(house.pool)];

    await house.extractor.extract(jobOf(received), run());

    assert.deepEqual([await documents(house.pool), await extractJobs(house.pool), await message(house.pool)], before);
  });

  it('makes one set of documents and jobs when two workers run it at the same time', async (t) => {
    const house = await openHouse(t);
    const received = await house.received(multipart([attachment('a.pdf', 'a'), attachment('b.pdf', 'b')]));

    await Promise.all(Array.from({ length: 5 }, () => house.extractor.extract(jobOf(received), run())));

    assert.equal((await documents(house.pool)).length, 2);
    assert.equal((await extractJobs(house.pool)).length, 2);
  });

  it('warns of a mail without attachments, and sets PARSED', async (t) => {
    const house = await openHouse(t);
    const received = await house.received('Subject: hello\r\n\r\nno order today\r\n');

    await house.extractor.extract(jobOf(received), run());

    assert.equal((await message(house.pool)).status, 'PARSED');
    assert.equal((await documents(house.pool)).length, 0);
    assert.ok(house.lines.some(({ msg, level }) => msg === 'no attachments in this mail' && level === 40));
  });

  it('leaves out an image that the HTML behind it shows, and takes its bytes away again', async (t) => {
    const house = await openHouse(t);
    const image = 'Content-Type: image/png; name=logo.png\r\nContent-ID: <logo@x>\r\n\r\npng';
    const html = 'Content-Type: text/html\r\n\r\n<img src="cid:logo@x">';
    const received = await house.received(multipart([image, html], 'related'));

    await house.extractor.extract(jobOf(received), run());

    assert.deepEqual(await documents(house.pool), []);
    assert.deepEqual(await files(house.folder), [`${received.id}.eml`]);
  });

  it('notes on the document what did not decode', async (t) => {
    const house = await openHouse(t);
    const received = await house.received(
      multipart([
        'Content-Disposition: attachment; filename=a.pdf\r\nContent-Transfer-Encoding: base64\r\n\r\naGVs!!bG8=\r\ntrailing words',
      ]),
    );

    await house.extractor.extract(jobOf(received), run());

    const [row] = await documents(house.pool);
    assert.equal(row?.status, 'STORED');
    assert.equal((row?.error_json as { code: string } | undefined)?.code, 'decoded-with-defects');
  });

  it('ends FAILED at a limit, names it, and keeps the documents that came before', async (t) => {
    const house = await openHouse(t);
    let deep = 'Content-Type: text/plain\r\n\r\nx';
    for (let level = 0; level < 200; level++) {
      deep = `Content-Type: multipart/mixed; boundary=d${level}\r\n\r\n--d${level}\r\n${deep}\r\n--d${level}--`;
    }
    const received = await house.received(multipart([attachment('first.pdf', 'first'), deep]));

    await house.extractor.extract(jobOf(received), run());

    const { status, error_json } = await message(house.pool);
    assert.equal(status, 'FAILED');
    assert.equal((error_json as { code: string }).code, 'limit-exceeded');
    assert.equal((error_json as { limit: string }).limit, 'maxDepth');
    assert.deepEqual(
      (await documents(house.pool)).map((row) => [row.file_name, row.status]),
      [['first.pdf', 'STORED']],
    );
    assert.equal((await extractJobs(house.pool)).length, 1);
  });
});

describe('the lines of a mail that is read', () => {
  const told = ({ lines }: House, least: number) => lines.filter(({ level }) => Number(level) >= least);

  it('is one at info, with the ids of its documents; each document has one at debug', async (t) => {
    const house = await openHouse(t);
    const received = await house.received(multipart([attachment('one.pdf', 'one'), attachment('two.pdf', 'two')]));

    await house.extractor.extract(jobOf(received), run());

    const ids = (await documents(house.pool)).map(({ id }) => id);
    assert.deepEqual(
      told(house, 30).map((line) => [line.msg, line.documents, line.document_ids, line.inbound_message_id]),
      [['mail parsed', 2, ids, received.id]],
    );
    const stored = house.lines.filter(({ level, msg }) => level === 20 && msg === 'document stored');
    assert.deepEqual(
      stored.map((line) => line.document_id),
      ids,
    );
  });

  it('has fifty ids at most, and the number of all', async (t) => {
    const house = await openHouse(t);
    const received = await house.received(
      multipart(Array.from({ length: 60 }, (_, n) => attachment(`${n}.pdf`, `${n}`))),
    );

    await house.extractor.extract(jobOf(received), run());

    const [line, ...more] = told(house, 30);
    assert.deepEqual([line?.documents, ((line?.document_ids ?? []) as string[]).length, more], [60, 50, []]);
  });
});

describe('what is told of a mail that is not as it should be', () => {
  const brokenBase64 =
    'Content-Type: application/pdf\r\nContent-Disposition: attachment; filename="Order secret 4711.pdf"\r\n' +
    'Content-Transfer-Encoding: base64\r\n\r\naGVs!!bG8=';

  const warnings = ({ lines }: House) => lines.filter(({ level }) => Number(level) >= 40);
  const malformed = async ({ metrics }: House): Promise<number> => {
    const series = /^smtp_processing_errors_total\{[^}]*error_type="malformed"[^}]*\} (\d+)$/m;
    return Number(series.exec((await metrics.scrape()).text)?.[1] ?? 0);
  };

  it('PARSED with notes: on the row, at the part, in one WARN line, which names no file', async (t) => {
    const house = await openHouse(t);
    const open = multipart([brokenBase64, attachment('whole.pdf', 'whole')]).replace('--b--\r\n', '');
    const received = await house.received(open);

    await house.extractor.extract(jobOf(received), run());

    const { status, notes_json, parser_version, parts_json } = await message(house.pool);
    assert.deepEqual([status, parser_version], ['PARSED', PARSER_VERSION]);
    const notes = notes_json as readonly { code: string; part: string | null; text: string }[];
    const notClosed = 'a multipart without its closing boundary: the end may be missing';
    const junk = 'base64 with characters outside its alphabet, left out';
    assert.deepEqual(notes[0], { code: 'multipart-not-closed', part: null, text: notClosed });
    assert.deepEqual(notes[1], { code: 'base64-junk', part: '1', text: `Order secret 4711.pdf: ${junk}` });
    assert.deepEqual((parts_json as { notes?: string[] }[])[0]?.notes, ['base64-junk']);
    const told = notes.map(({ code, part }) => ({ code, part }));
    assert.deepEqual(
      warnings(house).map(({ level, msg, notes: logged }) => [level, msg, logged]),
      [[40, 'mail parsed with notes', told]],
    );
    assert.doesNotMatch(JSON.stringify(house.lines), /secret|4711\.pdf|whole\.pdf/);
    assert.equal(await malformed(house), 0);
  });

  it('PARSED with notes and without a document: still one WARN line', async (t) => {
    const house = await openHouse(t);
    const received = await house.received('Subject: x\r\nContent-Transfer-Encoding: x-own\r\n\r\nno order\r\n');

    await house.extractor.extract(jobOf(received), run());

    const { status, notes_json } = await message(house.pool);
    assert.equal(status, 'PARSED');
    const text = 'an unknown Content-Transfer-Encoding; the bytes are left as they are';
    assert.deepEqual(notes_json, [{ code: 'transfer-encoding-unknown', part: '1', text }]);
    assert.deepEqual(
      warnings(house).map(({ level, msg, notes }) => [level, msg, notes]),
      [[40, 'no attachments in this mail', [{ code: 'transfer-encoding-unknown', part: '1' }]]],
    );
  });

  it('nothing to say: no note, no line', async (t) => {
    const house = await openHouse(t);
    const received = await house.received(multipart([attachment('order.pdf', 'one')]));

    await house.extractor.extract(jobOf(received), run());

    const { notes_json, parser_version, parts_json } = await message(house.pool);
    assert.deepEqual([notes_json, parser_version], [[], PARSER_VERSION]);
    assert.equal(
      (parts_json as object[]).some((part) => 'notes' in part),
      false,
    );
    assert.deepEqual(warnings(house), []);
  });

  it('more than 50 notes: the first 49 and how many more', async (t) => {
    const house = await openHouse(t);
    const received = await house.received(multipart(Array.from({ length: 60 }, () => brokenBase64)));

    await house.extractor.extract(jobOf(received), run());

    const notes = (await message(house.pool)).notes_json as readonly { code: string; part: string | null }[];
    assert.equal(notes.length, 50);
    assert.deepEqual([notes[48]?.code, notes[48]?.part], ['base64-junk', '49']);
    assert.deepEqual(notes[49], {
      code: 'more',
      part: null,
      text: '11 more notes, not listed',
      detail: { count: 11 },
    });
  });

  it('FAILED when none of the parts that the mail declares can be found, once and for all', async (t) => {
    const house = await openHouse(t);
    const nested = 'Content-Type: multipart/alternative; boundary=never\r\n\r\nthe order secret 4711';
    const received = await house.received(multipart([nested]));

    await house.extractor.extract(jobOf(received), run());
    await house.extractor.extract(jobOf(received), run());

    assert.deepEqual(await message(house.pool), {
      status: 'FAILED',
      error_json: {
        code: 'no-part-readable',
        message: 'the mail says it has parts, but none could be found in it',
      },
      parts_json: [],
      notes_json: [{ code: 'boundary-never-appears', part: '1', text: 'a multipart whose boundary never appears' }],
      parser_version: PARSER_VERSION,
    });
    assert.deepEqual(
      warnings(house).map(({ level, msg, notes }) => [level, msg, notes]),
      [[50, 'mail failed', [{ code: 'boundary-never-appears', part: '1' }]]],
    );
    assert.doesNotMatch(JSON.stringify(house.lines), /secret/);
    assert.equal(await malformed(house), 1);
    assert.deepEqual(await extractJobs(house.pool), []);
  });

  it('FAILED when the boundary never appears and the body is text', async (t) => {
    const house = await openHouse(t);
    const received = await house.received(
      'Subject: x\r\nContent-Type: multipart/mixed; boundary="x"\r\n\r\nplease send 40 pieces\r\nthanks\r\n',
    );

    await house.extractor.extract(jobOf(received), run());

    const neverAppears = 'a multipart whose boundary never appears';
    assert.deepEqual(await message(house.pool), {
      status: 'FAILED',
      error_json: {
        code: 'no-part-readable',
        message: `the mail says it has parts, but none could be found in it: ${neverAppears}`,
      },
      parts_json: [],
      notes_json: [{ code: 'boundary-never-appears', part: null, text: neverAppears }],
      parser_version: PARSER_VERSION,
    });
    assert.deepEqual(
      warnings(house).map(({ level, msg }) => [level, msg]),
      [[50, 'mail failed']],
    );
    assert.equal(await malformed(house), 1);
  });

  it('PARSED with its note when the body is blank', async (t) => {
    const house = await openHouse(t);
    const received = await house.received('Content-Type: multipart/mixed; boundary="x"\r\n\r\n \r\n\r\n');

    await house.extractor.extract(jobOf(received), run());

    const { status, error_json, notes_json, parts_json } = await message(house.pool);
    assert.deepEqual([status, error_json, parts_json], ['PARSED', null, []]);
    const text = 'a multipart whose boundary never appears';
    assert.deepEqual(notes_json, [{ code: 'boundary-never-appears', part: null, text }]);
    assert.equal(await malformed(house), 0);
  });

  it('PARSED when it is a message inside the mail that has no readable part: that message is there whole', async (t) => {
    const house = await openHouse(t);
    const inside = 'Content-Type: multipart/mixed; boundary=never\r\n\r\nan order\r\n';
    const forwarded = `Content-Type: message/rfc822\r\nContent-Disposition: attachment; filename=a.eml\r\n\r\n${inside}`;
    const received = await house.received(multipart([forwarded]));

    await house.extractor.extract(jobOf(received), run());

    const { status, notes_json } = await message(house.pool);
    assert.equal(status, 'PARSED');
    assert.deepEqual(notes_json, [
      { code: 'boundary-never-appears', part: '1.m', text: 'a multipart whose boundary never appears' },
    ]);
  });

  it('a mail that was never read has no notes, and no parser', async (t) => {
    const house = await openHouse(t);
    const received = await house.received(multipart([brokenBase64]));
    await house.objects.remove(received.rawStorageKey);

    await house.extractor.extract(jobOf(received), run());

    const { status, notes_json, parser_version } = await message(house.pool);
    assert.deepEqual([status, notes_json, parser_version], ['FAILED', null, null]);
    assert.equal(await malformed(house), 0);
  });
});

describe('a mail with a forwarded mail inside', () => {
  it('has its documents in the order of the parts, wherever they lie', async (t) => {
    const house = await openHouse(t);
    const inside = multipart(Array.from({ length: 11 }, (_, index) => attachment(`inside-${index + 1}.pdf`, 'x')))
      .replaceAll('--b', '--i')
      .replace('boundary=b', 'boundary=i');
    const forwarded = `Content-Type: message/rfc822\r\nContent-Disposition: attachment; filename=a.eml\r\n\r\n${inside}`;
    const others = Array.from({ length: 8 }, (_, index) => attachment(`after-${index + 3}.pdf`, 'x'));
    const received = await house.received(multipart([attachment('first.pdf', 'x'), forwarded, ...others]));

    await house.extractor.extract(jobOf(received), run());

    const { parts_json } = await message(house.pool);
    const view = await createPostgresMessageViews({ pool: house.pool }).findMessage(received.id);
    const paths = ['1', '2', ...Array.from({ length: 11 }, (_, index) => `2.m.${index + 1}`)];
    const ordered = [...paths, '3', '4', '5', '6', '7', '8', '9', '10'];
    assert.deepEqual(
      view?.documents.map(({ partPath }) => partPath),
      ordered,
    );
    assert.deepEqual(
      (parts_json as { path: string }[]).map(({ path }) => path),
      ordered,
    );
  });
});

it('a mail of 9,900 parts that waits for nothing gives the event loop its turns', async (t) => {
  const house = await openHouse(t);
  const received = await house.received(multipart(Array.from({ length: 9_900 }, () => '\r\nx')));
  let turns = 0;
  let over = false;
  const turn = (): void => {
    turns++;
    if (!over) setImmediate(turn);
  };
  // From the first event on: what is waited for before is the store and the database.
  const objects: ObjectStore = {
    ...house.objects,
    async get(key) {
      const chunks = await Array.fromAsync(await house.objects.get(key));
      setImmediate(turn);
      return (async function* () {
        yield* chunks;
      })();
    },
  };
  const extractor = createExtractor({
    objects,
    store: {
      take: async () => ({ ...received, status: 'STORED' }),
      finish: async () => {
        over = true;
        return true;
      },
    },
    log: pino({ level: 'silent' }),
    lines: createBoundedLines({ log: pino({ level: 'silent' }) }),
    metrics: house.metrics,
  });
  await extractor.extract(jobOf(received), run());
  assert.ok(turns >= 5, `${turns} turns`);
});

describe('faults while extracting', () => {
  /** A directory where the object should be: a fault of this one object, on the real file system. */
  async function obstruct(house: House, received: NewMessage, name: string): Promise<void> {
    await house.extractor.extract(jobOf(received), run()).catch(() => {});
    const [row] = (await documents(house.pool)).filter((document) => document.file_name === name);
    const path = join(house.folder, String(row?.storage_key));
    await rm(path);
    await mkdir(join(path, 'in-the-way'), { recursive: true });
    await house.pool.query('TRUNCATE document');
    await house.pool.query('DELETE FROM graphile_worker._private_jobs');
    await house.pool.query('ALTER TABLE inbound_message DISABLE TRIGGER USER');
    await house.pool.query(`UPDATE inbound_message SET status = 'RECEIVED', parts_json = NULL`);
    await house.pool.query('ALTER TABLE inbound_message ENABLE TRIGGER USER');
  }

  it('fails the job, not the message, when one part cannot be stored; nothing is written until all is decided', async (t) => {
    const house = await openHouse(t);
    const received = await house.received(multipart([attachment('bad.pdf', 'bad'), attachment('good.pdf', 'good')]));
    await obstruct(house, received, 'bad.pdf');

    await assert.rejects(house.extractor.extract(jobOf(received), run()), { name: 'StoreError' });

    assert.equal((await message(house.pool)).status, 'STORED');
    assert.equal((await documents(house.pool)).length, 0);
    assert.deepEqual(
      house.lines.filter(({ level }) => Number(level) >= 40).map(({ level, msg, attempt }) => [level, msg, attempt]),
      [[40, 'extraction failed, it will be tried again', 1]],
    );
  });

  it('gives one part up when it alone keeps failing, and hands the others on', async (t) => {
    const house = await openHouse(t);
    const received = await house.received(multipart([attachment('bad.pdf', 'bad'), attachment('good.pdf', 'good')]));
    await obstruct(house, received, 'bad.pdf');

    await house.extractor.extract(jobOf(received), run({ attempt: 5 }));

    assert.equal((await message(house.pool)).status, 'PARSED');
    const rows = await documents(house.pool);
    assert.deepEqual(
      rows.map((row) => [row.file_name, row.status, (row.error_json as { code: string } | null)?.code]),
      [
        ['bad.pdf', 'FAILED', 'gave-up'],
        ['good.pdf', 'STORED', undefined],
      ],
    );
    assert.equal((await extractJobs(house.pool)).length, 1);
  });

  it('keeps trying when no part can be stored: that is the store, not the mail', async (t) => {
    const house = await openHouse(t);
    const received = await house.received(multipart([attachment('bad.pdf', 'bad')]));
    await obstruct(house, received, 'bad.pdf');

    await assert.rejects(house.extractor.extract(jobOf(received), run({ attempt: 24 })));
    await house.extractor.extract(jobOf(received), run({ attempt: 25, lastAttempt: true }));

    const errors = house.lines.filter(({ level }) => Number(level) >= 50);
    assert.deepEqual(
      errors.map(({ msg, documents: count, document_ids: ids }) => [msg, count, (ids as string[]).length]),
      [['attachments could not be stored, giving up', 1, 1]],
    );
    assert.equal((await message(house.pool)).status, 'PARSED');
    assert.deepEqual(
      (await documents(house.pool)).map((row) => row.status),
      ['FAILED'],
    );
  });

  it('ends FAILED, loudly, when no attempt is left; a message that is finished stays what it is', async (t) => {
    const house = await openHouse(t);
    const received = await house.received(multipart([attachment('a.pdf', 'a')]));

    await house.extractor.giveUp(jobOf(received));
    const { status, error_json } = await message(house.pool);
    assert.equal(status, 'FAILED');
    assert.equal((error_json as { code: string }).code, 'gave-up');
    assert.ok(house.lines.some(({ level, msg }) => level === 50 && msg === 'mail failed'));
    await house.extractor.giveUp(jobOf(received));
    await house.extractor.extract(jobOf(received), run());
    assert.equal((await message(house.pool)).status, 'FAILED');
  });

  it('ends FAILED, loudly, when the raw mail is gone', async (t) => {
    const house = await openHouse(t);
    const received = await house.received(multipart([attachment('a.pdf', 'a')]));
    await house.objects.remove(received.rawStorageKey);

    const faults: unknown[] = [];
    const span: TraceSpan = {
      traceparent: '',
      child: () => span,
      set: () => {},
      fail: (error) => faults.push(error),
      end: () => {},
    };
    await house.extractor.extract(jobOf(received), run({ span }));

    const { status, error_json } = await message(house.pool);
    assert.equal(status, 'FAILED');
    assert.equal((error_json as { code: string }).code, 'object-missing');
    assert.deepEqual(faults, [error_json]);
    assert.ok(house.lines.some(({ level, msg }) => level === 50 && msg === 'mail failed'));
  });

  it('stops when it is told to, leaving the job for another', async (t) => {
    const house = await openHouse(t);
    const received = await house.received(multipart([attachment('a.pdf', 'a')]));

    await assert.rejects(
      house.extractor.extract(jobOf(received), run({ signal: AbortSignal.abort(new Error('stopping')) })),
    );

    assert.notEqual((await message(house.pool)).status, 'PARSED');
    assert.equal((await documents(house.pool)).length, 0);
  });

  it('takes a job whose message is not there, or is of another organisation, for done', async (t) => {
    const house = await openHouse(t);
    const received = await house.received(multipart([attachment('a.pdf', 'a')]));
    await house.extractor.extract({ ...jobOf(received), orgId: 'b5a7c1de-0000-4000-8000-000000000000' }, run());
    assert.ok(house.lines.some(({ msg }) => msg === 'a job for a message that is not there'));
    assert.equal((await message(house.pool)).status, 'RECEIVED');
  });

  it('a raw mail that is missing from a store that is not the known one fails the attempt and never the message', async (t) => {
    const house = await openHouse(t);
    const sent = await house.received(multipart([attachment('a.pdf', 'x')]));
    await rename(house.folder, `${house.folder}-right`);
    await mkdir(join(house.folder, '+incoming'), { recursive: true });
    const log = pino({ level: 'silent' });
    const store = createPostgresExtractionStore({ pool: house.pool });
    let answer: () => Promise<StoreObjection | null> = async () => ({
      code: 'store-unmarked',
      found: 'another',
      mend: 'mount it',
      since: new Date(),
    });
    const storeGuard = { ask: () => answer() };
    const lines = createBoundedLines({ log });
    const asking = createExtractor({ objects: house.objects, store, storeGuard, log, lines, metrics: house.metrics });
    await assert.rejects(
      asking.extract(jobOf(sent), run({ lastAttempt: true })),
      /^StoreNotKnownError: not now: another/,
    );
    answer = async () => Promise.reject(new Error('the database is away'));
    await assert.rejects(asking.extract(jobOf(sent), run()), /the database is away/);
    assert.equal((await message(house.pool)).status, 'STORED');
    // The right one is back by the time that it is asked for.
    answer = async () => {
      await rm(house.folder, { recursive: true });
      await rename(`${house.folder}-right`, house.folder);
      return null;
    };
    await assert.rejects(asking.extract(jobOf(sent), run()), { code: 'object-missing' });
    assert.equal((await message(house.pool)).status, 'STORED');
    // The right one is taken away once it was asked for.
    answer = async () => {
      answer = async () => ({ code: 'store-unmarked', found: 'another', mend: 'mount it', since: new Date() });
      return null;
    };
    await rename(house.folder, `${house.folder}-right`);
    await mkdir(join(house.folder, '+incoming'), { recursive: true });
    await assert.rejects(asking.extract(jobOf(sent), run()), /^StoreNotKnownError: not now: another/);
    assert.equal((await message(house.pool)).status, 'STORED');
    await rm(house.folder, { recursive: true });
    await rename(`${house.folder}-right`, house.folder);
    await asking.extract(jobOf(sent), run());
    assert.equal((await message(house.pool)).status, 'PARSED');
  });
});
