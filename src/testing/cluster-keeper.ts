/**
 * A process that keeps one throw-away PostgreSQL cluster with a migrated database, as long as its stdin is open.
 * However its parent ends, also by kill -9, the cluster and its folder go with it.
 * Shape: one line of JSON on stdout when it is ready: `{"url": …}` or `{"error": …}`.
 */
import { once } from 'node:events';
import { pino } from 'pino';
import { openEmbeddedPostgres } from '../adapters/embedded-postgres/embedded-postgres.ts';
import { migrate } from '../adapters/postgres/migrate.ts';
import { makeTemporaryFolder, removeFolder } from './temporary-folder.ts';

for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => {}); // the parent decides
process.stdout.on('error', () => {}); // the parent is gone; stdin says so as well
const parentGone = once(process.stdin.resume(), 'close');

const folder = await makeTemporaryFolder();
try {
  const cluster = await openEmbeddedPostgres({
    dataDir: folder,
    log: pino({ level: 'silent' }),
    durable: false,
    transport: 'tcp', // Tests put something between.
  });
  try {
    await migrate({ url: cluster.connectionString });
    process.stdout.write(`${JSON.stringify({ url: cluster.connectionString })}\n`);
    await parentGone;
  } finally {
    await cluster.stop();
  }
} catch (error) {
  process.stdout.write(`${JSON.stringify({ error: error instanceof Error ? error.message : String(error) })}\n`);
  process.exitCode = 1;
} finally {
  await removeFolder(folder);
  process.stdin.destroy();
}
