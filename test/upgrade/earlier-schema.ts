/** Databases as an earlier version left them: the first so many migrations, and nothing of the later ones. */
import { randomBytes } from 'node:crypto';
import { readdir } from 'node:fs/promises';
import { basename, join } from 'node:path';
import type { TestContext } from 'node:test';
import { runMigrations } from 'graphile-worker';
import { runner } from 'node-pg-migrate';
import pg from 'pg';
import { workerLogger } from '../../src/adapters/graphile/logger.ts';
import { cleanUp } from '../../src/testing/clean-up.ts';
import { createTestDatabase } from '../../src/testing/database.ts';

export const MIGRATIONS_DIR = join(import.meta.dirname, '../../migrations');

/** In the order they are run. */
export async function migrationNames(): Promise<readonly string[]> {
  const files = await readdir(MIGRATIONS_DIR);
  return files.map((name) => basename(name, '.sql')).sort();
}

/** Shape: its connection string. */
export async function databaseOf(t: TestContext, migrations: number): Promise<string> {
  const cluster = await createTestDatabase();
  cleanUp(t, cluster.close);
  const name = `earlier_${randomBytes(6).toString('hex')}`;
  await withClient(cluster.url, (client) => client.query(`CREATE DATABASE ${name}`));
  cleanUp(t, async () => {
    await withClient(cluster.url, (client) => client.query(`DROP DATABASE ${name} WITH (FORCE)`));
  });
  const url = new URL(cluster.url);
  url.pathname = `/${name}`;
  await withClient(url.href, (client) =>
    runner({
      dbClient: client,
      dir: MIGRATIONS_DIR,
      direction: 'up',
      count: migrations,
      migrationsTable: 'schema_migration',
      noLock: true,
      log: () => {},
    }),
  );
  await runMigrations({ connectionString: url.href, logger: workerLogger(undefined) });
  return url.href;
}

export async function withClient<T>(url: string, work: (client: pg.Client) => Promise<T>): Promise<T> {
  const client = new pg.Client({ connectionString: url, application_name: 'test', connectionTimeoutMillis: 15_000 });
  client.on('error', () => {});
  await client.connect();
  try {
    return await work(client);
  } finally {
    await client.end();
  }
}
