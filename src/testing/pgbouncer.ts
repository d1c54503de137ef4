/** A PgBouncer of Debian's package before a database, with its defaults wherever a test does not say otherwise. */
import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { chmod, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import pg from 'pg';
import { cleanUp } from './clean-up.ts';
import { freePort } from './free-port.ts';
import { temporaryFolder } from './temporary-folder.ts';
import { waitFor } from './wait-for.ts';

const PROGRAMS = ['/usr/sbin/pgbouncer', '/usr/bin/pgbouncer'];
const NOBODY = 65_534;

export interface Pooler {
  /** The database, by way of the pooler. */
  readonly url: string;
}

/** null: there is one on this machine. */
export const noPooler = (): string | null => (PROGRAMS.some(existsSync) ? null : 'apt install pgbouncer');

/** `settings`: lines of its ini file; `{user}` is the login of the URL. */
export async function startPooler(t: TestContext, url: string, settings: readonly string[]): Promise<Pooler> {
  const folder = await temporaryFolder(t);
  await chmod(folder, 0o777); // It refuses to run as root and becomes nobody.
  const { hostname, port, username, password, pathname } = new URL(url);
  const listenPort = await freePort();
  await writeFile(join(folder, 'users.txt'), `"${username}" "${password}"\n`);
  const lines = [
    '[databases]',
    `${pathname.slice(1)} = host=${hostname} port=${port}`,
    '[pgbouncer]',
    'listen_addr = 127.0.0.1',
    `listen_port = ${listenPort}`,
    'auth_type = plain',
    `auth_file = ${folder}/users.txt`,
    'unix_socket_dir =',
    ...settings.map((line) => line.replace('{user}', username)),
  ];
  await writeFile(join(folder, 'pgbouncer.ini'), `${lines.join('\n')}\n`);
  const asNobody = process.getuid?.() === 0 ? { uid: NOBODY, gid: NOBODY } : {};
  const child = execFile(PROGRAMS.find(existsSync) ?? '', [join(folder, 'pgbouncer.ini')], asNobody, () => {});
  const ended = once(child, 'exit');
  cleanUp(t, async () => {
    child.kill('SIGKILL');
    await ended;
  });
  const pooled = new URL(url);
  pooled.port = `${listenPort}`;
  await waitFor(() => answers(pooled.href), { what: 'PgBouncer to answer' });
  return { url: pooled.href };
}

async function answers(url: string): Promise<boolean> {
  const client = new pg.Client({ connectionString: url });
  client.on('error', () => {});
  await client.connect();
  await client.query('SELECT').finally(() => client.end());
  return true;
}
