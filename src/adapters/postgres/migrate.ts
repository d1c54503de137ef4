/** Brings a database to today's schema: our numbered SQL files, then graphile-worker's own. */
import { fileURLToPath } from 'node:url';
import { runMigrations } from 'graphile-worker';
import { runner } from 'node-pg-migrate';
import pg from 'pg';
import type { Log } from '../../telemetry/log.ts';
import { workerLogger } from '../graphile/logger.ts';

const MIGRATIONS_DIR = fileURLToPath(new URL('../../../migrations', import.meta.url));
/** Any number that nothing else on this database uses for an advisory lock. */
const MIGRATION_LOCK = 0x0f_1e_57;

/**
 * Idempotent, and safe when several processes run it at once: the second waits for the first and finds nothing to do.
 * Errors: rejects with the database's own error; a migration that failed is rolled back whole.
 */
export async function migrate(o: {
  readonly url: string;
  readonly log?: Log;
}): Promise<{ readonly applied: readonly string[] }> {
  const client = new pg.Client({ connectionString: o.url, application_name: 'orderflow-migrate' });
  client.on('error', () => {}); // the query under way rejects as well
  await client.connect();
  try {
    await client.query('SELECT pg_advisory_lock($1)', [MIGRATION_LOCK]);
    const applied = await runner({
      dbClient: client,
      dir: MIGRATIONS_DIR,
      direction: 'up',
      migrationsTable: 'schema_migration',
      noLock: true,
      log: (line) => o.log?.debug({ migration: line }, 'migration'),
    });
    await runMigrations({ connectionString: o.url, logger: workerLogger(o.log) });
    return { applied: applied.map((migration) => migration.name) };
  } finally {
    await client.end();
  }
}
