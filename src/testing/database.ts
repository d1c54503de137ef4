/** A database of its own for each test, cloned from a migrated template. */
import { randomBytes } from 'node:crypto';
import pg from 'pg';
import { startTestCluster } from './cluster.ts';
import { templateUrl } from './environment.ts';

export interface TestDatabase {
  readonly url: string;
  /** Drops it, with whatever sessions are left. */
  close(): Promise<void>;
}

let ownCluster: Promise<string> | undefined;

/** Under `npm test` on the run's cluster; in a test file run alone, on one that lives as long as its process. */
export async function createTestDatabase(): Promise<TestDatabase> {
  const template = templateUrl() ?? (await startOwnCluster());
  const name = `test_${randomBytes(6).toString('hex')}`;
  await maintain(template, `CREATE DATABASE ${name} TEMPLATE ${databaseOf(template)}`);
  const url = new URL(template);
  url.pathname = `/${name}`;
  let closed: Promise<void> | undefined;
  return {
    url: url.href,
    close: () => {
      closed ??= maintain(template, `DROP DATABASE IF EXISTS ${name} WITH (FORCE)`);
      return closed;
    },
  };
}

function startOwnCluster(): Promise<string> {
  ownCluster ??= startTestCluster().then((cluster) => cluster.templateUrl);
  return ownCluster;
}

function databaseOf(url: string): string {
  return new URL(url).pathname.slice(1);
}

/** One statement in the maintenance database of the cluster. */
async function maintain(templateUrl: string, sql: string): Promise<void> {
  const url = new URL(templateUrl);
  url.pathname = '/postgres';
  const client = new pg.Client({ connectionString: url.href, connectionTimeoutMillis: 15_000 });
  await client.connect();
  try {
    await client.query(sql);
  } finally {
    await client.end();
  }
}
