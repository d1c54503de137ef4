/** A PostgreSQL as an operator has it before the first start: our embedded one, open to an administrator. */
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { pino } from 'pino';
import { openEmbeddedPostgres } from '../../src/adapters/embedded-postgres/embedded-postgres.ts';
import { cleanUp } from '../../src/testing/clean-up.ts';
import { temporaryFolder } from '../../src/testing/temporary-folder.ts';

/** A server on which nothing of ours has ever been. Shape: its superuser's URL. */
export async function newServer(t: TestContext): Promise<string> {
  const dataDir = await temporaryFolder(t);
  const home = join(dataDir, 'postgres');
  await mkdir(home);
  // Ours keeps its superuser out; this one has to let an administrator in.
  await writeFile(join(home, 'pg_hba.conf'), 'local all postgres trust\nlocal all all scram-sha-256\n');
  const server = await openEmbeddedPostgres({ dataDir, log: pino({ level: 'silent' }) });
  cleanUp(t, () => server.stop());
  return as(server.connectionString, 'postgres', 'postgres');
}

/** Another login, and another database, of that server. */
export const as = (url: string, login: string, database: string): string => {
  const { searchParams } = new URL(url);
  const host = encodeURIComponent(searchParams.get('host') ?? '');
  const port = searchParams.get('port');
  return `postgresql:///${database}?host=${host}${port ? `&port=${port}` : ''}&user=${login}&password=change-me`;
};
