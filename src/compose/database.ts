/** The database of every program: the one that is configured, or the embedded one, which is started for it. */
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { embeddedDatabaseExists, openEmbeddedPostgres } from '../adapters/embedded-postgres/embedded-postgres.ts';
import { checkDatabase } from '../adapters/postgres/connect.ts';
import { assertFit, DatabaseUnfitError } from '../adapters/postgres/examine.ts';
import { NOT_SET_UP } from '../adapters/postgres/examine-schema.ts';
import { openLogin } from '../adapters/postgres/login.ts';
import { knownMigrations, pendingMigrations } from '../adapters/postgres/migrate.ts';
import type { Settings } from '../config/settings.ts';
import type { ConnectionUrl } from '../ports/renewable-url.ts';
import type { Log } from '../telemetry/log.ts';
import { asStartError, NoDatabaseError, StartError } from './errors.ts';

interface Database {
  readonly url: ConnectionUrl;
  readonly embedded: boolean;
  close(): Promise<void>;
}

/** With `toWrite`, one that takes no mail ends the program; commands that only look may look at a standby. */
export async function openDatabase(
  settings: Settings,
  log: Log,
  { toWrite = false }: { readonly toWrite?: boolean } = {},
): Promise<Database> {
  try {
    if (settings.databaseUrl !== null) {
      const url = openLogin({ url: settings.databaseUrl, secret: settings.databaseSecret, log });
      await (toWrite ? assertFit : checkDatabase)(url);
      return { url, embedded: false, close: async () => {} };
    }
    const embedded = await openEmbeddedPostgres({ dataDir: settings.dataDir, log });
    return { url: embedded.connectionString, embedded: true, close: () => embedded.stop() };
  } catch (error) {
    throw asStartError(error);
  }
}

/** How often a process that waits for its database asks again. */
const TAKES_MAIL_INTERVAL_MS = 2_000;

/**
 * For a process that takes the place of another: while the database is a standby or read-only it waits, and is not ready.
 * One that cannot be reached keeps nobody waiting: senders are told 451 until it can.
 * Errors: `DatabaseUnfitError` of what does not pass; the signal's reason.
 */
export async function databaseTakesMail(o: {
  readonly databaseUrl: ConnectionUrl;
  readonly log: Log;
  readonly signal: AbortSignal;
}): Promise<void> {
  for (let said = ''; ; await sleep(TAKES_MAIL_INTERVAL_MS, undefined, { signal: o.signal })) {
    try {
      await assertFit(o.databaseUrl);
      return;
    } catch (error) {
      if (!(error instanceof DatabaseUnfitError)) return;
      if (!error.passing) throw error;
      if (said !== error.message) o.log.warn({ err: error.message }, 'the database takes no mail: waiting for it');
      said = error.message;
    }
  }
}

export async function assertDatabaseExists({ databaseUrl, dataDir }: Settings): Promise<void> {
  if (databaseUrl !== null || (await embeddedDatabaseExists(dataDir))) return;
  throw new NoDatabaseError(
    `no database in ${join(dataDir, 'postgres')}; is DATA_DIR right? (start, migrate and org add make one)`,
  );
}

export async function assertMigrated(url: ConnectionUrl): Promise<void> {
  const missing = await pendingMigrations(url);
  if (missing.length === 0) return;
  if (missing.length === (await knownMigrations()).length) throw new StartError(`the database is ${NOT_SET_UP}`);
  throw new StartError(`the database's schema is older than this program (${missing.join(', ')}): run migrate first`);
}
