/**
 * An Exim that hands our mail on, configured as the page says. As a package it would replace Postfix, so `.ci/exim` unpacks it; and
 * because it looks for an account of its own before it reads any configuration, it runs in a mount namespace that has one.
 */
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { chmod, mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { cleanUp } from '../../src/testing/clean-up.ts';
import { freePort } from '../../src/testing/free-port.ts';
import { connectSmtp } from '../../src/testing/smtp-client.ts';
import { temporaryFolder } from '../../src/testing/temporary-folder.ts';
import { waitFor } from '../../src/testing/wait-for.ts';
import { findProgram, run } from '../specification/support/programs.ts';
import { exampleOf, replaced } from './page.ts';
import type { Relay } from './relay-suite.ts';

const UNPACKED = join(import.meta.dirname, '../../.cache/exim/usr/sbin');
const ALIAS_SECTION = 'Buyers who can only mail orders@company';
/** Any account but root's serves; Debian has this one everywhere. */
const ACCOUNT = 'mail';

export const EXIM = findProgram('exim4', [UNPACKED]);

/** Why there can be no namespace of mounts here; null when there can. */
export function noMountNamespace(): string | null {
  const { status, stderr, error } = spawnSync('unshare', ['--mount', 'true'], { encoding: 'utf8' });
  return status === 0 ? null : `unshare --mount: ${error?.message ?? stderr}`;
}

export async function startRelayingExim(t: TestContext, ingestPort: number): Promise<Relay> {
  const folder = await temporaryFolder(t);
  await chmod(folder, 0o755);
  const port = await freePort();
  const spool = join(folder, 'spool');
  await mkdir(spool);
  const { uid, gid } = await accountsWithExim(folder);
  assert.equal((await run('chown', [`${uid}:${gid}`, spool])).code, 0);
  const file = join(folder, 'exim4.conf');
  await writeFile(file, configuration({ port, spool, ingestPort }));
  const command = (...args: readonly string[]): readonly string[] => [
    '--mount',
    'sh',
    '-euc',
    `mount --bind ${folder}/passwd /etc/passwd; mount --bind ${folder}/group /etc/group; exec "$@"`,
    'sh',
    EXIM ?? 'exim4',
    '-C',
    file,
    ...args,
  ];
  const exim = async (...args: readonly string[]): Promise<string> => {
    const { code, stdout, stderr } = await run('unshare', command(...args));
    assert.equal(code, 0, stderr);
    return stdout.toString();
  };
  const daemon = spawn('unshare', command('-bdf'), { stdio: ['ignore', 'ignore', 'pipe'] });
  let said = '';
  daemon.stderr.setEncoding('utf8').on('data', (text: string) => {
    said += text;
  });
  cleanUp(t, async () => {
    if (daemon.exitCode !== null || daemon.signalCode !== null) return;
    daemon.kill('SIGTERM');
    await once(daemon, 'exit');
  });
  await waitFor(() => greets(port), { what: 'Exim to greet' }).catch((error: unknown) =>
    Promise.reject(new Error(`Exim does not greet\n${said}`, { cause: error })),
  );
  return {
    port,
    flush: () => exim('-qff'),
    queued: async () => Number(await exim('-bpc')),
  };
}

/** This machine's accounts, and Debian's one of Exim with the ids of another. */
async function accountsWithExim(folder: string): Promise<{ readonly uid: string; readonly gid: string }> {
  const passwd = await readFile('/etc/passwd', 'utf8');
  const [, uid = '', gid = ''] = new RegExp(`^${ACCOUNT}:[^:]*:(\\d+):(\\d+):`, 'm').exec(passwd) ?? [];
  const group = await readFile('/etc/group', 'utf8');
  await writeFile(join(folder, 'passwd'), `${passwd}Debian-exim:x:${uid}:${gid}::/nonexistent:/usr/sbin/nologin\n`);
  await writeFile(join(folder, 'group'), `${group}Debian-exim:x:${gid}:\n`);
  return { uid, gid };
}

function configuration(o: { readonly port: number; readonly spool: string; readonly ingestPort: number }): string {
  const ours = sectionsOf(replaced(exampleOf('Exim'), { 'port = 2525': `port = ${o.ingestPort}` }));
  return `
primary_hostname = mail.company.example
spool_directory = ${o.spool}
log_file_path = ${o.spool}/%slog
pid_file_path = ${o.spool}/exim.pid
exim_path = ${EXIM}
local_interfaces = 127.0.0.1
daemon_smtp_ports = ${o.port}
tls_advertise_hosts =
acl_smtp_rcpt = acl_check_rcpt
${ours.main}
begin acl
acl_check_rcpt:
${ours.acl}
  # What the company's own Exim has already.
  accept domains = company.example
  deny message = relay not permitted
begin routers
${ours.routers}
${exampleOf(ALIAS_SECTION, 1)}
begin transports
${ours.transports}
begin retry
* * F,2h,15m; G,16h,1h,1.5; F,4d,6h
`;
}

/** By the comments that begin them. */
function sectionsOf(example: string): Readonly<Record<'main' | 'acl' | 'routers' | 'transports', string>> {
  const section = (name: string): string => {
    const found = new RegExp(`^# ${name}\\b.*\\n((?:(?!# ).*\\n)*)`, 'm').exec(example)?.[1];
    assert.ok(found !== undefined, `the example has "# ${name}"`);
    return found;
  };
  return { main: section('main'), acl: section('acl'), routers: section('routers'), transports: section('transports') };
}

async function greets(port: number): Promise<boolean> {
  const client = await connectSmtp({ port });
  const { code } = await client.readReply();
  client.close();
  return code === 220;
}
