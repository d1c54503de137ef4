/**
 * Brings a database to today's schema: our numbered SQL files, then graphile-worker's own, then our indexes on its table, and
 * the role of the next stage.
 */
import { readdir } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { runMigrations } from 'graphile-worker';
import { runner } from 'node-pg-migrate';
import pg from 'pg';
import { type ConnectionUrl, renewable } from '../../ports/renewable-url.ts';
import type { Log } from '../../telemetry/log.ts';
import { isLaterQueue, LATER_QUEUE } from '../graphile/later-queue.ts';
import { workerLogger } from '../graphile/logger.ts';
import { indexQueue } from '../graphile/queue-indexes.ts';
import { connectWith } from './login.ts';
import { provideNextStageRole } from './next-stage-role.ts';
import { isServerError } from './pool.ts';

const MIGRATIONS_DIR = fileURLToPath(new URL('../../../migrations', import.meta.url));
/** Any number that nothing else on this database uses for an advisory lock. */
const MIGRATION_LOCK = 0x0f_1e_57;

/** How long a start waits for another process that migrates. */
const LOCK_TIMEOUT_MS = 60_000;

/**
 * A migration that waits for a table, because somebody is reading it, makes every mail wait behind it. So it gives up after
 * this, lets them pass, and tries again.
 */
const TABLE_LOCK_TIMEOUT_MS = 2_000;
const TABLE_LOCK_PAUSE_MS = 1_000;
/** Longer than a dump of a database takes that has no other way to be backed up. */
const TABLE_LOCK_PATIENCE_MS = 30 * 60_000;

/** The schema cannot be brought up to date; the message is for the operator. */
export class MigrationError extends Error {
  override readonly name = 'MigrationError';
}

/**
 * Idempotent, and safe when several processes run it at once: the second waits for the first and finds nothing to do.
 * Errors: `MigrationError`; a migration that failed is rolled back whole.
 */
export async function migrate(o: {
  readonly url: ConnectionUrl;
  readonly log?: Log;
}): Promise<{ readonly applied: readonly string[] }> {
  const client = await connect(o.url);
  try {
    await client.query(`SET lock_timeout = ${LOCK_TIMEOUT_MS}`);
    await client.query('SELECT pg_advisory_lock($1)', [MIGRATION_LOCK]);
    const applied: string[] = [];
    for (let next = await runNext(client, o.log); next !== null; next = await runNext(client, o.log))
      applied.push(next);
    if (await migrateQueue(o)) await whenTablesAreFree(client, o.log, () => indexQueue(client));
    await provideNextStageRole(client);
    return { applied };
  } catch (error) {
    throw explained(error);
  } finally {
    await client.end();
  }
}

/** Shape: false when the queue is that of a later version, which is left as it is. */
async function migrateQueue({ url, log }: { readonly url: ConnectionUrl; readonly log?: Log }): Promise<boolean> {
  try {
    await runMigrations({ connectionString: renewable(url).current, logger: workerLogger(log) });
    return true;
  } catch (error) {
    if (!isLaterQueue(error)) throw error;
    log?.warn(LATER_QUEUE);
    return false;
  }
}

/** Names of the migrations that this program knows and the database has not seen. */
export async function pendingMigrations(url: ConnectionUrl): Promise<readonly string[]> {
  const client = await connect(url);
  try {
    await client.query('BEGIN'); // never committed: even a dry run makes the table it keeps its books in
    return await run(client, undefined, { dryRun: true });
  } finally {
    await client.end();
  }
}

/** Names of the migrations that this program knows, in order. */
export async function knownMigrations(): Promise<readonly string[]> {
  const names = await readdir(MIGRATIONS_DIR);
  return names
    .filter((name) => name.endsWith('.sql'))
    .map((name) => name.slice(0, -'.sql'.length))
    .sort();
}

function connect(url: ConnectionUrl): Promise<pg.Client> {
  return connectWith(url, (text) => {
    const client = new pg.Client({ connectionString: text, application_name: 'orderflow-migrate' });
    client.on('error', () => {}); // the query under way rejects as well
    return client;
  });
}

/** Applies the next migration. Shape: its name; null when there is none left. */
async function runNext(client: pg.Client, log: Log | undefined): Promise<string | null> {
  return whenTablesAreFree(client, log, async () => (await run(client, log, { count: 1 }))[0] ?? null);
}

/** Does the work as soon as its tables can be had. */
async function whenTablesAreFree<T>(client: pg.Client, log: Log | undefined, work: () => Promise<T>): Promise<T> {
  const deadline = performance.now() + TABLE_LOCK_PATIENCE_MS;
  await client.query(`SET lock_timeout = ${TABLE_LOCK_TIMEOUT_MS}`);
  for (;;) {
    try {
      return await work();
    } catch (error) {
      await client.query('ROLLBACK');
      if (!isServerError(error) || !IN_USE.has(error.code ?? '')) throw error;
      if (performance.now() > deadline) {
        throw new MigrationError(
          'a table has been in use for half an hour; find the transaction that holds it in pg_stat_activity, end it, and start again',
          { cause: error },
        );
      }
      log?.warn({ err: error.message }, 'a migration waits for a table that somebody uses, trying again');
      await sleep(TABLE_LOCK_PAUSE_MS);
    }
  }
}

async function run(
  client: pg.Client,
  log: Log | undefined,
  o: { readonly dryRun?: boolean; readonly count?: number } = {},
): Promise<readonly string[]> {
  const migrations = await runner({
    dbClient: client,
    dir: MIGRATIONS_DIR,
    direction: 'up',
    migrationsTable: 'schema_migration',
    noLock: true,
    ...o,
    log: (line) => log?.debug({ migration: line }, 'migration'),
  });
  return migrations.map(({ name }) => name);
}

const INSUFFICIENT_PRIVILEGE = '42501';
const LOCK_NOT_AVAILABLE = '55P03';
const DEADLOCK_DETECTED = '40P01';
/** Somebody is at work with a table; of two that wait for each other, the migration is rolled back and comes again. */
const IN_USE: ReadonlySet<string> = new Set([LOCK_NOT_AVAILABLE, DEADLOCK_DETECTED]);
const UNDEFINED_FILE = '58P01';
const FEATURE_NOT_SUPPORTED = '0A000';

/** What an operator can mend gets its remedy; the rest the database's own words. */
function explained(error: unknown): unknown {
  if (!isServerError(error)) return error;
  const { code, message } = error;
  if (code === LOCK_NOT_AVAILABLE)
    return new MigrationError('another process has been migrating this database for a minute');
  if (code === INSUFFICIENT_PRIVILEGE && message.includes('role')) {
    return new MigrationError(
      `the database login may not make or use the role orderflow_tenant (${message}). ` +
        'As an administrator run: CREATE ROLE orderflow_tenant NOLOGIN; GRANT orderflow_tenant TO <the login>;',
      { cause: error },
    );
  }
  if (code === UNDEFINED_FILE || code === FEATURE_NOT_SUPPORTED) {
    return new MigrationError(`the database server lacks an extension that is needed: ${message}`, { cause: error });
  }
  return new MigrationError(`the database refuses a migration: ${message}`, { cause: error });
}
