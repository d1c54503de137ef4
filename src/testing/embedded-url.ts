import { realpath } from 'node:fs/promises';
import { clusterPaths, ensurePassword } from '../adapters/embedded-postgres/cluster.ts';
import { connectionStringOf } from '../adapters/embedded-postgres/endpoint.ts';
import { findPostmaster } from '../adapters/embedded-postgres/postmaster.ts';

/** What `start` prints to a terminal only. Shape: undefined until the server of this data folder listens. */
export async function embeddedUrl(dataDir: string): Promise<string | undefined> {
  const paths = clusterPaths(await realpath(dataDir));
  const running = await findPostmaster(paths);
  if (!running?.endpoint) return undefined;
  return connectionStringOf(running.endpoint, await ensurePassword(paths));
}
