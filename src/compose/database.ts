/** The database of every program: the one that is configured, or the embedded one, which is started for it. */
import { join } from 'node:path';
import { embeddedDatabaseExists, openEmbeddedPostgres } from '../adapters/embedded-postgres/embedded-postgres.ts';
import { checkDatabase } from '../adapters/postgres/connect.ts';
import { assertFit } from '../adapters/postgres/examine.ts';
import { pendingMigrations } from '../adapters/postgres/migrate.ts';
import type { Settings } from '../config/settings.ts';
import type { Log } from '../telemetry/log.ts';
import { asStartError, NoDatabaseError, StartError } from './errors.ts';

interface Database {
  readonly url: string;
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
      await (toWrite ? assertFit : checkDatabase)(settings.databaseUrl);
      return { url: settings.databaseUrl, embedded: false, close: async () => {} };
    }
    const embedded = await openEmbeddedPostgres({ dataDir: settings.dataDir, log });
    return { url: embedded.connectionString, embedded: true, close: () => embedded.stop() };
  } catch (error) {
    throw asStartError(error);
  }
}

export async function assertDatabaseExists({ databaseUrl, dataDir }: Settings): Promise<void> {
  if (databaseUrl !== null || (await embeddedDatabaseExists(dataDir))) return;
  throw new NoDatabaseError(
    `no database in ${join(dataDir, 'postgres')}; is DATA_DIR right? (start, migrate and org add make one)`,
  );
}

export async function assertMigrated(url: string): Promise<void> {
  const missing = await pendingMigrations(url);
  if (missing.length === 0) return;
  throw new StartError(`the database's schema is older than this program (${missing.join(', ')}): run migrate first`);
}
