/** The server goes on when its log cannot be written: what is lost is the log, never a mail. */
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, existsSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { cleanUp } from '../testing/clean-up.ts';
import { createTestDatabase } from '../testing/database.ts';
import { bareEnvironment } from '../testing/environment.ts';
import { freePort } from '../testing/free-port.ts';
import { missing } from '../testing/missing.ts';
import { sendRaw } from '../testing/smtp-client.ts';
import { temporaryFolder } from '../testing/temporary-folder.ts';
import { waitFor } from '../testing/wait-for.ts';

const launcher = fileURLToPath(new URL('../../bin/orderflow-ingest.cjs', import.meta.url));
const mails = 3;

/** With standard output as given: a descriptor, or a pipe. */
async function serverLoggingTo(t: TestContext, stdout: number | 'pipe') {
  const database = await createTestDatabase();
  cleanUp(t, () => database.close());
  const cwd = await temporaryFolder(t);
  const [smtpPort, httpPort] = await Promise.all([freePort(), freePort()]);
  const ports = { SMTP_PORT: String(smtpPort), HTTP_PORT: String(httpPort) };
  const env = { ...bareEnvironment(), ...ports, DATABASE_URL: database.url, DATA_DIR: cwd, LOG_LEVEL: 'debug' };
  const added = spawnSync(process.execPath, [launcher, 'org', 'add', 'acme'], { cwd, env, encoding: 'utf8' });
  assert.equal(added.status, 0, added.stderr);
  const child = spawn(process.execPath, [launcher, 'start'], { cwd, env, stdio: ['ignore', stdout, 'pipe'] });
  const ended = once(child, 'close');
  cleanUp(t, async () => {
    child.kill('SIGKILL');
    await ended;
  });
  let stderr = '';
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    stderr += text;
  });
  const isReady = async (): Promise<boolean> =>
    child.exitCode !== null || (await fetch(`http://127.0.0.1:${httpPort}/readyz`)).ok;
  await waitFor(isReady, { timeoutMs: 60_000, what: 'the server' });
  assert.equal(child.exitCode, null, stderr);
  return {
    stdout: child.stdout,
    send: async (id: string): Promise<number> => {
      const data = `Message-ID: <${id}@example.com>\r\nSubject: ${id}\r\n\r\nHello`;
      const sent = { port: smtpPort, from: 'buyer@example.com', to: ['orders+acme@orderflow.example.com'], data };
      return (await sendRaw(sent)).verdict.code;
    },
    stop: async () => {
      child.kill('SIGTERM');
      const [code] = await ended;
      assert.equal(code, 0, stderr);
    },
  };
}

async function acceptsMails(server: { send(id: string): Promise<number> }): Promise<void> {
  for (let i = 0; i < mails; i += 1) assert.equal(await server.send(`mail-${i}`), 250);
}

test('a server whose log is on a full disk answers 250 and stops in order', async (t) => {
  if (!existsSync('/dev/full')) return missing(t, '/dev/full', 'a device of Linux');
  const full = openSync('/dev/full', 'w');
  cleanUp(t, () => closeSync(full));
  const server = await serverLoggingTo(t, full);
  await acceptsMails(server);
  await server.stop();
});

test('a server whose disk for the log fills up answers 250, and tells what the log lacks when there is room', async (t) => {
  const folder = await temporaryFolder(t);
  if (spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=64k', 'tmpfs', folder]).status !== 0) {
    return missing(t, 'a small tmpfs', 'mounting one needs root');
  }
  cleanUp(t, () => void spawnSync('umount', ['-l', folder]));
  const path = join(folder, 'log');
  const log = openSync(path, 'a');
  cleanUp(t, () => closeSync(log));
  const server = await serverLoggingTo(t, log);
  const filler = join(folder, 'filler');
  assert.throws(() => writeFileSync(filler, Buffer.alloc(65_536)), { code: 'ENOSPC' });
  // What is left of the log's last page takes a few lines more.
  for (let i = 0; i < 20; i += 1) assert.equal(await server.send(`full-${i}`), 250);
  rmSync(filler);
  assert.equal(await server.send('room'), 250);
  await server.stop();
  const reports = readFileSync(path, 'utf8').match(/^.*log lines were lost.*$/gm) ?? [];
  assert.equal(reports.length, 1);
  const { level, lost_lines: lines, code } = JSON.parse(reports[0] ?? '');
  assert.deepEqual([level, code], ['warn', 'ENOSPC']);
  assert.ok(lines > 0, `${lines}`);
});

test('a server whose log is read by nobody any more answers 250 and stops in order', async (t) => {
  const server = await serverLoggingTo(t, 'pipe');
  server.stdout?.destroy();
  await acceptsMails(server);
  await server.stop();
});
