/** The program behind the operator's commands: what they look at and change; and `migrate`, which needs no store. */
import { createPostgresMessageRetries } from '../adapters/postgres/message-retries.ts';
import { createPostgresMessageViews } from '../adapters/postgres/message-views.ts';
import { migrate as migrateDatabase } from '../adapters/postgres/migrate.ts';
import { createPostgresBlockList, createPostgresOrganisations } from '../adapters/postgres/organisations.ts';
import { createPool } from '../adapters/postgres/pool.ts';
import type { Toolbox } from '../cli/context.ts';
import type { Settings } from '../config/settings.ts';
import type { Log } from '../telemetry/log.ts';
import { assertDatabaseExists, assertMigrated, openDatabase } from './database.ts';
import { asStartError } from './errors.ts';
import { openJobRequeue } from './job-requeue.ts';
import { openObjectStore } from './object-store.ts';
import { VIEW_CONNECTIONS } from './pools.ts';

/** A filter by text without a time may read whole tables; who has waited too long ends the command. */
const LOOK_STATEMENT_MS = 10 * 60_000;

/**
 * What the commands work with. Those that only look neither make a database nor change its schema: `create` does both.
 * Errors: `NoDatabaseError`, `StartError`.
 */
export async function openToolbox(o: {
  readonly settings: Settings;
  readonly log: Log;
  readonly create?: boolean;
}): Promise<Toolbox> {
  if (o.create !== true) await assertDatabaseExists(o.settings);
  const database = await openDatabase(o.settings, o.log, { toWrite: o.create === true });
  try {
    if (o.create === true) await migrateDatabase({ url: database.url, log: o.log });
    else await assertMigrated(database.url);
    const pool = createPool({
      url: database.url,
      applicationName: 'orderflow-cli',
      maxConnections: VIEW_CONNECTIONS,
      statementTimeoutMs: LOOK_STATEMENT_MS,
      log: o.log,
    });
    const store = await openObjectStore(o.settings, o.log);
    const { jobs, close: closeQueue } = openJobRequeue({ ...o, pool });
    return {
      organisations: createPostgresOrganisations({ pool }),
      blockList: createPostgresBlockList({ pool }),
      messages: createPostgresMessageViews({ pool }),
      retries: createPostgresMessageRetries({ pool }),
      jobs,
      objects: store.objects,
      async close() {
        await closeQueue();
        await pool.end();
        await store.close();
        await database.close();
      },
    };
  } catch (error) {
    await database.close();
    throw asStartError(error);
  }
}

export async function migrate(o: {
  readonly settings: Settings;
  readonly log: Log;
}): Promise<{ readonly applied: readonly string[] }> {
  const database = await openDatabase(o.settings, o.log, { toWrite: true });
  try {
    return await migrateDatabase({ url: database.url, log: o.log });
  } catch (error) {
    throw asStartError(error);
  } finally {
    await database.close();
  }
}
