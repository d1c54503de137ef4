/** What staff ask for: found by every filter, conflicts among them, and at a cost that does not grow with the table. */
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { type TestContext, test } from 'node:test';
import type pg from 'pg';
import pino from 'pino';
import type { NewMessage } from '../../ports/message-store.ts';
import type { MessageFilter } from '../../ports/message-view.ts';
import { pagesRead } from '../../testing/pages-read.ts';
import { addOrganisation, newMessage, openTestPool } from '../../testing/postgres-fixtures.ts';
import { createPostgresMessageStore } from './message-store.ts';
import { createPostgresMessageViews } from './message-views.ts';
import { createPool } from './pool.ts';

async function openHouse(t: TestContext) {
  const { pool, url } = await openTestPool(t);
  const [acme, globex] = [await addOrganisation(pool, 'acme'), await addOrganisation(pool, 'globex')];
  const store = createPostgresMessageStore({ pool });
  const views = createPostgresMessageViews({ pool });
  const add = async (orgId: string, over: Partial<NewMessage> = {}): Promise<string> => {
    const [recorded] = await store.record([[newMessage(orgId, over)]]);
    assert.ok(Array.isArray(recorded));
    return recorded[0]?.id ?? '';
  };
  const found = async (filter: Partial<MessageFilter>) =>
    (await views.listMessages({ limit: 100, ...filter })).map(({ id }) => id);
  return { pool, url, acme, globex, views, add, found };
}

const addDocument = async (pool: pg.Pool, orgId: string, messageId: string, fileName: string, status = 'STORED') => {
  const sql = `INSERT INTO document (org_id, inbound_message_id, file_name, mime_type, size_bytes, sha256, storage_key, status, part_path)
    VALUES ($1, $2, $3, 'application/pdf', 1, 'aa', 'k', $4, $3) RETURNING id`;
  return (await pool.query<{ id: string }>(sql, [orgId, messageId, fileName, status])).rows[0]?.id ?? '';
};

const at = (day: number): Date => new Date(Date.UTC(2026, 2, day, 10));

test('each filter finds what it is for, alone and with others', async (t) => {
  const { pool, acme, globex, views, add, found } = await openHouse(t);
  const first = await add(acme, { receivedAt: at(1), fromEmail: 'Buyer@Customer.example', subject: '100% Größe_1' });
  const second = await add(acme, { receivedAt: at(2), fromEmail: null, headerFrom: 'ERP <erp@other.example>' });
  const third = await add(globex, { receivedAt: at(3), toEmail: 'orders+globex@x.example', headerTo: null });
  const invoice = await addDocument(pool, acme, first, 'Invoice 7.pdf');
  await addDocument(pool, globex, third, 'order.csv', 'EXTRACTED');
  await pool.query(
    `UPDATE inbound_message SET status = 'FAILED', parts_json = '[{"file_name": "inline logo.png"}]' WHERE id = $1`,
    [second],
  );
  assert.deepEqual(await found({}), [third, second, first], 'newest first, over organisations');
  assert.deepEqual(await found({ limit: 2 }), [third, second]);
  const cases: readonly (readonly [Partial<MessageFilter>, readonly string[]])[] = [
    [{ orgId: acme }, [second, first]],
    [{ status: 'FAILED' }, [second]],
    [{ from: '@customer.EXAMPLE' }, [first]],
    [{ from: 'erp@other' }, [second]],
    [{ to: '+GLOBEX@' }, [third]],
    [{ subject: '100% größe_' }, [first]],
    [{ subject: '1_0' }, []],
    [{ subject: '1%0' }, []],
    [{ file: 'invoice' }, [first]],
    [{ file: 'LOGO' }, [second]],
    [{ documentStatus: 'EXTRACTED' }, [third]],
    [{ noDocuments: true }, [second]],
    [{ since: at(2) }, [third, second]],
    [{ until: at(2) }, [first]],
    [{ since: at(2), until: at(3), noDocuments: true, orgId: acme, status: 'FAILED' }, [second]],
    [{ since: at(3), noDocuments: true }, []],
    [{ orgId: globex, from: 'customer' }, []],
  ];
  for (const [filter, ids] of cases) assert.deepEqual(await found(filter), ids, JSON.stringify(filter));
  const documents = async (filter: object) =>
    (await views.listDocuments({ limit: 10, ...filter })).map(({ fileName }) => fileName);
  assert.deepEqual((await documents({})).toSorted(), ['Invoice 7.pdf', 'order.csv']);
  assert.deepEqual(await documents({ file: 'INVOICE', orgId: acme, status: 'STORED' }), ['Invoice 7.pdf']);
  assert.deepEqual(await documents({ until: at(1) }), []);
  assert.equal((await views.findDocument(invoice))?.messageId, first);
  assert.equal(await views.findDocument(invoice, globex), null, 'of another organisation');
});

test('whatever was answered 250 is in the list: a mail kept aside too, as CONFLICT, and it is found as itself', async (t) => {
  const { acme, globex, views, add, found } = await openHouse(t);
  const first = await add(acme, { sourceMessageId: '<1@x.example>', receivedAt: at(1) });
  const other = { subject: 'Order 2', contentSha256: 'other', contentSha256V1: 'other-1', fromEmail: 'two@x.example' };
  const aside = await add(acme, { sourceMessageId: '<1@x.example>', receivedAt: at(2), ...other });
  const last = await add(acme, { receivedAt: at(3) });
  assert.deepEqual(await found({}), [last, aside, first]);
  assert.deepEqual(await found({ limit: 2 }), [last, aside]);
  assert.deepEqual(await found({ status: 'CONFLICT' }), [aside]);
  assert.deepEqual(await found({ orgId: globex }), []);
  assert.deepEqual(await found({ from: 'two@', subject: 'order 2', since: at(2), until: at(3), orgId: acme }), [aside]);
  for (const filter of [{ status: 'RECEIVED' }, { file: '.' }, { documentStatus: 'STORED' }] as const)
    assert.ok(!(await found(filter)).includes(aside), JSON.stringify(filter));
  assert.ok((await found({ noDocuments: true })).includes(aside));
  const [listed] = await views.listMessages({ status: 'CONFLICT', limit: 1 });
  assert.deepEqual([listed?.status, listed?.conflictWith, listed?.documentCount], ['CONFLICT', first, 0]);
  const shown = await views.findMessage(aside);
  assert.deepEqual(
    [shown?.id, shown?.status, shown?.conflictWith, shown?.subject, shown?.sourceMessageId],
    [aside, 'CONFLICT', first, 'Order 2', '<1@x.example>'],
  );
  assert.match(shown?.rawStorageKey ?? '', new RegExp(aside));
  assert.deepEqual(
    (await views.findMessage(first))?.conflicts.map(({ id }) => id),
    [aside],
  );
  assert.equal(await views.findMessage(aside, globex), null, 'of another organisation');
});

test('the newest, of one organisation or all, and those of a time are read by the index, however many there are', async (t) => {
  const { pool, url, acme, globex } = await openHouse(t);
  const fill = (orgId: string, count: number, before: string) =>
    pool.query(
      `INSERT INTO inbound_message (org_id, source, source_message_id, received_at, status, subject, parts_json)
       SELECT $1, 'EMAIL', gen_random_uuid()::text, $3::timestamptz - n * interval '1 minute', 'RECEIVED', 'Order ' || n, '[]'
       FROM generate_series(1, $2::int) AS n`,
      [orgId, count, before],
    );
  const cost = (filter: Partial<MessageFilter>): Promise<number> => {
    const applicationName = `look-${randomUUID()}`;
    return pagesRead(pool, applicationName, async () => {
      const looking = createPool({ url, applicationName, maxConnections: 1, log: pino({ level: 'silent' }) });
      await createPostgresMessageViews({ pool: looking }).listMessages({ limit: 20, ...filter });
      await looking.end();
    });
  };
  const day = { since: new Date('2026-02-28T12:00Z'), until: new Date('2026-02-28T13:00Z') };
  const asked: readonly Partial<MessageFilter>[] = [
    {},
    { orgId: acme },
    { ...day, subject: 'nothing' },
    { ...day, noDocuments: true },
  ];
  const costs = async (): Promise<readonly number[]> => {
    await pool.query('VACUUM ANALYZE');
    const all: number[] = [];
    for (const filter of asked) all.push(await cost(filter));
    return all;
  };
  for (const orgId of [acme, globex]) await fill(orgId, 2_000, '2026-03-01');
  const few = await costs();
  for (const orgId of [acme, globex]) await fill(orgId, 20_000, '2026-02-20');
  const many = await costs();
  t.diagnostic(`pages at 4,000 rows ${few.join(', ')}; at 44,000 ${many.join(', ')}`);
  // A page for each of the 120 rows of that hour, whichever way they are read, and longer descents; the table has some 1,000.
  for (const [index, pages] of many.entries())
    assert.ok(
      pages <= (few[index] ?? 0) * 2.5 + 120,
      `${JSON.stringify(asked[index])}: ${few[index]}, then ${pages} pages`,
    );
});
