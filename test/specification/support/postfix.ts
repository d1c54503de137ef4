/** A Postfix as Debian ships it, of the test's own. Only root can start one. */
import assert from 'node:assert/strict';
import { chmod, cp, mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { cleanUp } from '../../../src/testing/clean-up.ts';
import { freePort } from '../../../src/testing/free-port.ts';
import { temporaryFolder } from '../../../src/testing/temporary-folder.ts';
import { findProgram, run } from './programs.ts';

export const POSTFIX = findProgram('postfix');

export interface OwnPostfix {
  readonly port: number;
  /** What is `/etc/postfix` elsewhere. */
  readonly folder: string;
  readonly logFile: string;
}

/** Its defaults, but for where it listens and keeps its queue, and what is given: lines of main.cf, for its folder. */
export async function startPostfix(
  t: TestContext,
  { settings, prepare }: { settings: readonly string[]; prepare?: (folder: string) => Promise<readonly string[]> },
): Promise<OwnPostfix> {
  const folder = await temporaryFolder(t);
  const port = await freePort();
  const [etc, spool, lib, logFile] = [
    join(folder, 'etc'),
    join(folder, 'spool'),
    join(folder, 'lib'),
    join(folder, 'mail.log'),
  ];
  await cp('/etc/postfix', etc, { recursive: true });
  for (const made of [spool, lib]) await mkdir(made);
  // Its daemons run as an account of their own.
  await chmod(folder, 0o755);
  const lines = [
    'compatibility_level = 3.6',
    `queue_directory = ${spool}`,
    `data_directory = ${lib}`,
    `maillog_file = ${logFile}`,
    `maillog_file_prefixes = ${folder}`,
    'inet_interfaces = 127.0.0.1',
    'inet_protocols = ipv4',
    'myhostname = mx.example',
    'mydestination =',
    // For our hundred connections, and what is refused of them.
    'smtpd_error_sleep_time = 0',
    'smtpd_client_connection_rate_limit = 0',
    ...settings,
    ...((await prepare?.(etc)) ?? []),
  ];
  await writeFile(join(etc, 'main.cf'), lines.map((line) => `${line}\n`).join(''));
  const master = (await readFile(join(etc, 'master.cf'), 'utf8'))
    .replace(/^smtp( +inet .*)$/m, `127.0.0.1:${port}$1`)
    // The fifth column: no chroot, whose files would be missing in this queue.
    .replace(/^(\S+ +(?:inet|unix) +\S+ +\S+ +)y/gm, '$1n');
  await writeFile(join(etc, 'master.cf'), master);
  await succeed('chown', ['postfix', lib]);
  await succeed(POSTFIX ?? 'postfix', ['-c', etc, 'start']);
  cleanUp(t, () => succeed(POSTFIX ?? 'postfix', ['-c', etc, 'stop']));
  return { port, folder: etc, logFile };
}

async function succeed(program: string, args: readonly string[]): Promise<void> {
  const { code, stderr } = await run(program, args);
  assert.equal(code, 0, stderr);
}
