/**
 * From each earlier schema, with data in it, to the newest: nothing is lost or changed, the rules hold, jobs run, and
 * processes of the version before go on working, during and after.
 */
import assert from 'node:assert/strict';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { pino } from 'pino';
import { migrate, pendingMigrations } from '../../src/adapters/postgres/migrate.ts';
import { createPool } from '../../src/adapters/postgres/pool.ts';
import { dumpSchema } from '../../src/adapters/postgres/schema-dump.ts';
import { cleanUp } from '../../src/testing/clean-up.ts';
import { composeMail } from '../../src/testing/compose-mail.ts';
import { startProduct } from '../../src/testing/product.ts';
import { recordingLog } from '../../src/testing/recording-log.ts';
import { temporaryFolder } from '../../src/testing/temporary-folder.ts';
import { waitFor } from '../../src/testing/wait-for.ts';
import { databaseOf, migrationNames, withClient } from './earlier-schema.ts';
import { loadRecordings, RECORDINGS_DIR, type Recording, recordStatements, replay, unrecorded } from './recording.ts';
import { oneOfEverything } from './scenario.ts';

const ROOT = join(import.meta.dirname, '../..');
const migrations = await migrationNames();
const recordings = await loadRecordings();

describe('a version of the product', () => {
  /** `npm run record` keeps the recording. */
  it('says the same things on any database of its schema', async (t) => {
    const url = await databaseOf(t, migrations.length);
    const steps = await recorded(t, url);
    assert.ok(steps.length > 50, `${steps.length} statements`);
    await replay(await databaseOf(t, migrations.length), { steps });
    if (process.env.RECORD_STATEMENTS !== '1') return;
    const { version } = JSON.parse(await readFile(join(ROOT, 'package.json'), 'utf8'));
    const newestMigration = migrations.at(-1) ?? '';
    const recording: Recording = { version, newestMigration, steps };
    const file = join(RECORDINGS_DIR, `${newestMigration}-${version}.json`);
    await writeFile(file, `${JSON.stringify(recording, null, 1)}\n`);
  });

  it('has its statements on record before it is released', async () => {
    assert.deepEqual(unrecorded(await readFile(join(ROOT, 'CHANGELOG.md'), 'utf8'), recordings), []);
    const known: Recording = { version: '1.0.0', newestMigration: '0001_inbound', steps: [] };
    const changelog = '# Changelog\n\n## Unreleased\n\n## 1.1.0\n\nSomething.\n\n## 1.0.0 (2026-01-01)\n';
    assert.deepEqual(unrecorded(changelog, [known]), ['1.1.0']);
  });
});

describe('the newest schema', () => {
  for (const [index, newest] of migrations.entries()) {
    it(`is reached from ${newest}, with data in it and its processes running`, async (t) => {
      const url = await databaseOf(t, index + 1);
      const old = recordings.filter((one) => migrations.indexOf(one.newestMigration) <= index);
      for (const recording of old) await replay(url, recording);
      const before = await everything(url);
      assert.ok(before.size > 20, `${before.size} rows and jobs`);

      await beside(old, url, () => migrate({ url }));

      assert.deepEqual(await pendingMigrations(url), []);
      await withClient(url, async (client) => {
        assert.equal(await dumpSchema(client as never), await readFile(join(ROOT, 'docs/schema.sql'), 'utf8'));
        await rulesHold(client);
        await organisationsAreApart(client);
      });
      const after = await everything(url);
      for (const [name, row] of before) assert.deepEqual({ ...after.get(name), ...row }, after.get(name), name);
      for (const recording of recordings) await replay(url, recording);
      await jobsRun(t, url);
    });
  }

  it('is waited for by a migration without holding up the mail behind it', async (t) => {
    const url = await databaseOf(t, 1);
    const [recording] = recordings;
    assert.ok(recording);
    await withClient(url, async (reader) => {
      // A dump, say: it reads for an hour, and nobody can change a table's columns meanwhile.
      await reader.query('BEGIN; SELECT count(*) FROM inbound_message');
      const { log, lines } = recordingLog();
      const migrated = migrate({ url, log });
      await waitFor(() => withClient(url, waitsForTable), { what: 'the migration to wait for a table' });
      await replay(url, recording);
      assert.notDeepEqual(await pendingMigrations(url), [], 'the reader holds the migration up, the mail passed both');
      await reader.query('COMMIT');
      await migrated;
      assert.ok(
        lines.includes('warn a migration waits for a table that somebody uses, trying again'),
        lines.join('; '),
      );
    });
    assert.deepEqual(await pendingMigrations(url), []);
  });

  it('is reached also where a migration and a transaction wait for each other', async (t) => {
    const index = migrations.indexOf('0008_content_digest');
    assert.ok(index > 0, 'the migration that changes two tables');
    const url = await databaseOf(t, index);
    await withClient(url, (holder) =>
      withClient(url, async (other) => {
        await holder.query('BEGIN; SELECT FROM inbound_message LIMIT 1');
        await other.query('BEGIN; SELECT FROM inbound_conflict LIMIT 1');
        const migrated = migrate({ url });
        await waitFor(() => withClient(url, waitsForTable), { what: 'the migration to wait for inbound_message' });
        const behind = other.query('SELECT FROM inbound_message LIMIT 1');
        await waitFor(() => withClient(url, async (client) => (await waiting(client)) > 1), { what: 'both to wait' });
        // Each looks once for a deadlock, after a second (`deadlock_timeout`): the migration is to be the one that finds it.
        await sleep(1_200);
        await holder.query('COMMIT');
        await behind;
        await other.query('COMMIT');
        await migrated;
      }),
    );
    assert.deepEqual(await pendingMigrations(url), []);
  });
});

async function recorded(t: TestContext, url: string): Promise<Recording['steps']> {
  const pool = createPool({ url, applicationName: 'test', maxConnections: 1, log: pino({ level: 'silent' }) });
  cleanUp(t, () => pool.end());
  const steps = recordStatements(pool);
  await oneOfEverything(pool);
  return structuredClone(JSON.parse(JSON.stringify(steps)));
}

/** While the work is done, processes of the old versions go on; none of their statements may fail. */
async function beside(old: readonly Recording[], url: string, work: () => Promise<unknown>): Promise<void> {
  let over = false;
  let rounds = 0;
  const busy = (async () => {
    while (!over || rounds === 0) {
      for (const recording of old) await replay(url, recording);
      rounds += 1;
    }
  })();
  await work();
  over = true;
  await busy;
}

/** Every row and every job, by a name of its own. */
async function everything(url: string): Promise<Map<string, Record<string, unknown>>> {
  return withClient(url, async (client) => {
    const found = new Map<string, Record<string, unknown>>();
    const tables = ['graphile_worker._private_jobs', ...(await tablesOf(client))];
    for (const table of tables) {
      const { rows } = await client.query(`SELECT to_jsonb(one) AS row FROM ${table} AS one`);
      for (const { row } of rows) found.set(`${table} ${row.id}`, row);
    }
    return found;
  });
}

async function tablesOf(client: pg.Client): Promise<readonly string[]> {
  const { rows } = await client.query<{ name: string }>(
    `SELECT relname AS name FROM pg_class
     WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' AND relname <> 'schema_migration'`,
  );
  return rows.map(({ name }) => name);
}

async function rulesHold(client: pg.Client): Promise<void> {
  const { rows } = await client.query(
    `SELECT conname AS name FROM pg_constraint WHERE NOT convalidated
     UNION SELECT indexrelid::regclass::text FROM pg_index WHERE NOT indisvalid`,
  );
  assert.deepEqual(rows, [], 'rules that do not hold for the rows there are');
  const refused: readonly string[] = [
    `UPDATE inbound_message SET status = 'PARSED' WHERE status = 'RECEIVED'`,
    `UPDATE inbound_message SET status = 'RECEIVED' WHERE status = 'PARSED'`,
    'UPDATE inbound_message SET org_id = gen_random_uuid()',
    `UPDATE document SET storage_key = NULL WHERE status = 'STORED'`,
    'UPDATE document SET org_id = gen_random_uuid()',
    `INSERT INTO inbound_message (org_id, source, source_message_id, received_at, raw_storage_key, status)
     SELECT org_id, source, source_message_id, received_at, raw_storage_key, status FROM inbound_message LIMIT 1`,
  ];
  for (const statement of refused) await assert.rejects(client.query(statement), pg.DatabaseError, statement);
}

/** As each organisation, its own rows and all of them, in every table that has an org_id. */
async function organisationsAreApart(client: pg.Client): Promise<void> {
  const { rows: tables } = await client.query<{ name: string; guarded: boolean; key: string }>(
    `SELECT relname AS name, relrowsecurity AS guarded, attname AS key FROM pg_class JOIN pg_attribute ON attrelid = pg_class.oid
     WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'
       AND attname = CASE relname WHEN 'org' THEN 'id' ELSE 'org_id' END`,
  );
  assert.ok(tables.length >= 5);
  const { rows: organisations } = await client.query<{ id: string }>('SELECT id FROM org LIMIT 4');
  for (const { name, guarded, key } of tables) {
    assert.ok(guarded, `${name} has no row-level security`);
    for (const { id } of organisations) {
      const { rows: own } = await client.query(`SELECT count(*) AS n FROM ${name} WHERE ${key} = $1`, [id]);
      await client.query(`BEGIN; SET LOCAL ROLE orderflow_tenant; SET LOCAL app.org_id = '${id}'`);
      const { rows: seen } = await client.query(`SELECT count(*) AS n FROM ${name}`);
      await client.query('COMMIT; BEGIN; SET LOCAL ROLE orderflow_tenant');
      const { rows: unnamed } = await client.query(`SELECT count(*) AS n FROM ${name}`);
      await client.query('COMMIT');
      assert.deepEqual([seen, unnamed], [own, [{ n: 0 }]], `${name} as ${id}`);
    }
  }
}

/** Today's worker does what the old version left to do. */
async function jobsRun(t: TestContext, databaseUrl: string): Promise<void> {
  const dataDir = await temporaryFolder(t);
  const raw = await composeMail({ attachments: [{ fileName: 'order.csv', content: 'sku;amount\n' }] });
  const open = `SELECT id, raw_storage_key AS key FROM inbound_message WHERE status IN ('RECEIVED', 'STORED')`;
  const { rows } = await withClient(databaseUrl, (client) => client.query<{ id: string; key: string }>(open));
  for (const { key } of rows) {
    await mkdir(dirname(join(dataDir, 'objects', key)), { recursive: true });
    await writeFile(join(dataDir, 'objects', key), raw);
  }
  const product = await startProduct(t, {
    dataDir,
    env: { DATABASE_URL: databaseUrl },
    args: ['--roles', 'worker,http'],
  });
  const done = `SELECT (SELECT count(*) FROM inbound_message WHERE status = 'PARSED' AND id = ANY ($1)) AS parsed,
    (SELECT count(*) FROM document WHERE status = 'STORED' AND inbound_message_id = ANY ($1)) AS documents,
    (SELECT count(*) FROM graphile_worker.jobs WHERE task_identifier = 'extract_attachments') AS left`;
  const ids = rows.map(({ id }) => id);
  await waitFor(
    async () => {
      const [counts] = (await withClient(databaseUrl, (client) => client.query(done, [ids]))).rows;
      return counts.parsed === ids.length && counts.documents === ids.length && counts.left === 0;
    },
    { timeoutMs: 60_000, what: `${ids.length} mails of the old version to be read` },
  );
  await product.stop();
}

async function waiting(client: pg.Client): Promise<number> {
  const { rows } = await client.query(
    `SELECT FROM pg_locks JOIN pg_stat_activity USING (pid)
     WHERE NOT granted AND locktype = 'relation' AND datname = current_database()`,
  );
  return rows.length;
}

async function waitsForTable(client: pg.Client): Promise<boolean> {
  const { rows } = await client.query(
    `SELECT FROM pg_locks JOIN pg_stat_activity USING (pid)
     WHERE NOT granted AND locktype = 'relation' AND application_name = 'orderflow-migrate'
       AND datname = current_database()`,
  );
  return rows.length > 0;
}
