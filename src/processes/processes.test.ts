/** `start --processes`, as an operator sees it: by its port, its metrics, its log and its exit code. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdir, writeFile } from 'node:fs/promises';
import { type AddressInfo, createServer, type Server } from 'node:net';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { type TestContext, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { makeCertificateIn, opensslProblem } from '../testing/certificate.ts';
import { cleanUp } from '../testing/clean-up.ts';
import { createTestDatabase } from '../testing/database.ts';
import { bareEnvironment } from '../testing/environment.ts';
import { freePort } from '../testing/free-port.ts';
import { missing } from '../testing/missing.ts';
import { type Product, startProduct } from '../testing/product.ts';
import { scrape } from '../testing/scrape.ts';
import { connectSmtp, type SmtpClient, sendRaw } from '../testing/smtp-client.ts';
import { temporaryFolder } from '../testing/temporary-folder.ts';
import { waitFor } from '../testing/wait-for.ts';

const launcher = fileURLToPath(new URL('../../bin/orderflow-ingest.cjs', import.meta.url));
const recipient = 'orders+acme@orderflow.example.com';

async function startProcesses(t: TestContext, env: Readonly<Record<string, string>> = {}, folder?: string) {
  const database = await createTestDatabase();
  cleanUp(t, () => database.close());
  const product = await startProduct(t, {
    dataDir: folder ?? (await temporaryFolder(t)),
    args: ['--processes', '2'],
    env: { DATABASE_URL: database.url, ...env },
  });
  const cli = spawn(process.execPath, [launcher, 'org', 'add', 'acme'], {
    env: { ...bareEnvironment(), DATABASE_URL: database.url },
    stdio: 'ignore',
  });
  assert.deepEqual(await once(cli, 'exit'), [0, null]);
  return product;
}

/** Of the newest child of that name that has said it is there. */
function pidOf(product: Product, name: string): number {
  const line = product.log.findLast(({ process, msg }) => process === name && msg === 'process started');
  assert.ok(typeof line?.pid === 'number', `${name} has started`);
  return line.pid;
}

let serial = 0;
/** Shape: the code that decided about it. */
async function offerMail(product: Product): Promise<number> {
  serial += 1;
  const data = `Message-ID: <${serial}.${process.pid}@example.com>\r\nSubject: ${serial}\r\n\r\nHello`;
  const { verdict } = await sendRaw({ port: product.smtpPort, from: 'buyer@example.com', to: [recipient], data });
  return verdict.code;
}

async function sendMail(product: Product): Promise<void> {
  assert.equal(await offerMail(product), 250);
}

/** Only the other one of the two that take mail can, while the work is going on. */
async function without(pid: number, work: () => Promise<void>): Promise<void> {
  process.kill(pid, 'SIGSTOP');
  try {
    await work();
  } finally {
    process.kill(pid, 'SIGCONT');
  }
}

async function metric(product: Product, series: RegExp): Promise<number> {
  const text = await scrape(product.httpUrl);
  return text
    .split('\n')
    .filter((line) => series.test(line))
    .reduce((sum, line) => sum + Number(line.split(' ').at(-1)), 0);
}

const accepted = /^smtp_emails_received_total\{.*status="accepted"/;
const connections = /^smtp_connections /;

/** A connection in the middle of its mail. */
async function midMail(product: Product, name: string): Promise<SmtpClient> {
  const client = await connectSmtp({ port: product.smtpPort });
  await client.readReply('greeting');
  for (const line of ['EHLO client.example', 'MAIL FROM:<buyer@example.com>', `RCPT TO:<${recipient}>`, 'DATA'])
    assert.ok((await client.command(line)).code < 400, line);
  await client.write(`Message-ID: <${name}.${process.pid}@example.com>\r\n\r\nHel`);
  return client;
}

async function finish(client: SmtpClient): Promise<number> {
  await client.write('lo\r\n.\r\n');
  const { code } = await client.readReply('mail data');
  client.close();
  return code;
}

function isGone(pid: number): boolean {
  try {
    return !process.kill(pid, 0);
  } catch {
    return true;
  }
}

const children = ['smtp-1', 'smtp-2', 'worker'] as const;

test('two processes take mail on one port, their metrics are one, and one that is killed is replaced', async (t) => {
  const product = await startProcesses(t);
  const [first, second] = [pidOf(product, 'smtp-1'), pidOf(product, 'smtp-2')];
  await without(first, () => sendMail(product));
  await without(second, () => sendMail(product));
  const takers = new Set(product.log.filter(({ msg }) => msg === 'mail accepted').map(({ process }) => process));
  assert.deepEqual([...takers].toSorted(), ['smtp-1', 'smtp-2']);
  assert.equal(await metric(product, accepted), 2);

  const held = await Promise.all(Array.from({ length: 8 }, () => midMail(product, 'never-finished')));
  assert.equal(await metric(product, connections), 8);
  const ready = await (await fetch(`${product.httpUrl}/readyz`)).json();
  assert.deepEqual(Object.keys((ready as { checks: object }).checks), ['database', 'object_store', 'smtp', 'jobs']);

  process.kill(first, 'SIGKILL');
  await waitFor(() => pidOf(product, 'smtp-1') !== first, { what: 'its successor' });
  const told = product.log.filter(({ msg }) => msg === 'a process ended, another takes its place');
  assert.deepEqual(
    told.map(({ level, child, reason }) => [level, child, reason]),
    [['error', 'smtp-1', 'SIGKILL']],
  );
  assert.equal(await metric(product, accepted), 2, 'the total does not fall');
  for (const client of held) client.close();
  await waitFor(async () => (await metric(product, connections)) === 0, { what: 'the gauge to come down' });
  const worker = pidOf(product, 'worker');
  process.kill(worker, 'SIGKILL');
  await without(second, () => sendMail(product));
  assert.equal(await metric(product, accepted), 3);
  await waitFor(() => pidOf(product, 'worker') !== worker, { what: 'another worker' });
  await waitFor(async () => (await fetch(`${product.httpUrl}/readyz`)).ok, { what: '/readyz' });
  await product.stop();
  const tellers = new Set(product.log.map(({ process: name, pid }) => `${name} ${typeof pid}`));
  assert.deepEqual([...tellers].toSorted(), ['main number', ...children.map((name) => `${name} number`)]);
});

test('SIGTERM finishes the mail under way in every process, ends with 0, and leaves nobody', async (t) => {
  const product = await startProcesses(t);
  const pids = children.map((name) => pidOf(product, name));
  const clients: SmtpClient[] = [];
  for (const [index, pid] of pids.slice(0, 2).entries())
    await without(pid, async () => void clients.push(await midMail(product, `stop-${index}`)));
  const stopped = product.stop();
  await waitFor(() => product.log.some(({ msg }) => msg === 'stopping'), { what: 'the stop to begin' });
  assert.deepEqual(await Promise.all(clients.map(finish)), [250, 250]);
  await stopped;
  assert.deepEqual(pids.filter(isGone), pids);
  assert.deepEqual(product.strayOutput, []);
});

test('when the first process is killed the others finish their mail and end', async (t) => {
  const product = await startProcesses(t);
  const pids = children.map((name) => pidOf(product, name));
  const client = await midMail(product, 'orphan');
  process.kill(product.pid, 'SIGKILL');
  await waitFor(() => pids.filter(isGone).length === 2, { what: 'those without a mail to end' });
  assert.equal(await finish(client), 250);
  await waitFor(() => pids.every(isGone), { what: 'the last to end' });
});

test('SIGHUP to the first process lets all that take mail read their certificate again', async (t) => {
  const problem = opensslProblem();
  if (problem !== null) return missing(t, 'openssl', problem);
  const { certFile, keyFile } = makeCertificateIn(await temporaryFolder(t), { name: 'mx.orderflow.example.com' });
  const product = await startProcesses(t, { SMTP_TLS_CERT_FILE: certFile, SMTP_TLS_KEY_FILE: keyFile });
  process.kill(product.pid, 'SIGHUP');
  const looked = () => product.log.filter(({ msg }) => msg === 'TLS certificate unchanged');
  await waitFor(() => looked().length === 2, { what: 'both to look' });
  const names = looked().map(({ process }) => process);
  assert.deepEqual(names.toSorted(), ['smtp-1', 'smtp-2']);
  assert.ok((await metric(product, /^smtp_tls_certificate_not_after_seconds /)) > 0);
  await product.stop();
});

test('a second signal ends all at once, with 1', async (t) => {
  const product = await startProcesses(t);
  const pids = children.map((name) => pidOf(product, name));
  const client = await midMail(product, 'cut');
  cleanUp(t, () => client.close());
  const stopped = product.stop();
  stopped.catch(() => {});
  await waitFor(
    () => {
      if (!isGone(product.pid)) process.kill(product.pid, 'SIGINT');
      return pids.every(isGone);
    },
    // Sooner than the ten seconds that a mail under way would be given.
    { what: 'all to end', intervalMs: 100, timeoutMs: 8_000 },
  );
  await assert.rejects(stopped, /ended with 1/);
});

test('SIGUSR2 replaces every process, SIGTERM one of them, and somebody answers all the while', async (t) => {
  const product = await startProcesses(t);
  const before = children.map((name) => pidOf(product, name));
  let over = false;
  const heard = new Set<number>();
  const sending = (async () => {
    while (!over) heard.add(await offerMail(product));
  })();
  process.kill(product.pid, 'SIGUSR2');
  await waitFor(() => before.every(isGone), { what: 'the old ones to end' });
  const [first] = children.map((name) => pidOf(product, name));
  assert.ok(first !== undefined && !isGone(first));
  const client = await midMail(product, 'replaced');
  process.kill(first, 'SIGTERM');
  assert.equal(await finish(client), 250);
  await waitFor(() => isGone(first) && pidOf(product, 'smtp-1') !== first, { what: 'its successor' });
  over = true;
  await sending;
  assert.deepEqual(
    [...heard].filter((code) => code !== 250 && code !== 421),
    [],
  );
  const count = product.log.filter(({ msg }) => msg === 'mail accepted').length;
  assert.equal(await metric(product, accepted), count, 'what the old ones counted is in the total');
  await product.stop();
});

test('where no successor can start, each try is told, /readyz says so, and mail is taken again once one can', async (t) => {
  const product = await startProcesses(t);
  const holder = createServer();
  for (const name of ['smtp-1', 'smtp-2']) process.kill(pidOf(product, name), 'SIGKILL');
  await waitFor(() => listens(holder, product.smtpPort), { what: 'the port to be free', intervalMs: 1 });
  cleanUp(t, () => void holder.close());
  const failures = () => product.log.filter(({ reason }) => /cannot listen on/.test(String(reason)));
  await waitFor(() => failures().length >= 3, { what: 'three tries' });
  const delays = failures().map(({ delay_ms: delay }) => Number(delay));
  assert.ok(Math.max(...delays) > Math.min(...delays), `the delay grows: ${delays.join(', ')}`);
  const ready = await fetch(`${product.httpUrl}/readyz`);
  assert.equal(ready.status, 503);
  assert.match(await ready.text(), /"smtp":\{"ready":false,"reason":"has no process at the moment/);
  holder.close();
  await waitFor(async () => (await fetch(`${product.httpUrl}/readyz`)).ok, { what: 'a successor' });
  await sendMail(product);
  await product.stop();
});

test('a worker that is dead takes no process out of rotation that accepts mail: it is told, with since when', async (t) => {
  const product = await startProcesses(t);
  const ready = async (path = '') => await fetch(`${product.httpUrl}/readyz${path}`);
  assert.equal((await ready('/jobs')).status, 200);
  await without(pidOf(product, 'worker'), async () => {
    const whole = await ready();
    assert.equal(whole.status, 200);
    const { checks } = (await whole.json()) as { checks: Record<string, { ready: boolean; since?: string }> };
    assert.deepEqual([checks.smtp?.ready, checks.jobs?.ready], [true, false]);
    assert.ok(Date.parse(checks.jobs?.since ?? '') <= Date.now());
    assert.equal((await ready('/jobs')).status, 503);
    assert.equal((await ready('/nothing')).status, 404);
    await sendMail(product);
  });
  await waitFor(async () => (await ready('/jobs')).ok, { what: 'the worker to be ready again' });
  await without(pidOf(product, 'smtp-1'), async () =>
    assert.equal((await ready()).status, 200, 'the other takes mail'),
  );
  await product.stop();
});

test('settings are read once: a process that takes another’s place has those of the start', async (t) => {
  const folder = await temporaryFolder(t);
  await writeFile(join(folder, '.env'), 'SMTP_MAX_MESSAGE_SIZE=1000000\n');
  const product = await startProcesses(t, {}, folder);
  await writeFile(join(folder, '.env'), 'SMTP_MAX_MESSAGE_SIZE=2000000\nNO_SETTING=1\n');
  const before = children.map((name) => pidOf(product, name));
  process.kill(product.pid, 'SIGUSR2');
  await waitFor(() => before.every(isGone), { what: 'the old ones to end' });
  const client = await connectSmtp({ port: product.smtpPort });
  await client.readReply('greeting');
  const { lines } = await client.command('EHLO client.example');
  client.close();
  assert.ok(lines.includes('SIZE 1000000'), lines.join(', '));
  await product.stop();
});

test('a process that hangs is killed when all end: exit 1, and the log says which', async (t) => {
  const product = await startProcesses(t);
  const hung = pidOf(product, 'smtp-2');
  process.kill(hung, 'SIGSTOP');
  const stoppingAt = performance.now();
  await assert.rejects(product.stop(), /ended with 1/);
  const tookMs = performance.now() - stoppingAt;
  assert.ok(tookMs < 25_000, `${Math.round(tookMs)} ms`);
  assert.ok(isGone(hung));
  assert.match(JSON.stringify(product.log), /not in order: smtp-2 \(SIGKILL\)/);
});

async function listens(server: Server, port: number): Promise<boolean> {
  server.listen({ port, host: '127.0.0.1' });
  await once(server, 'listening');
  return true;
}

for (const args of [['--processes', '2'], []])
  test(`a taken port ends the start ${args.join(' ')} with one line and 1: nobody stays, and no database is made`, async (t) => {
    const holder = createServer();
    await once(holder.listen(0, '127.0.0.1'), 'listening');
    cleanUp(t, () => void holder.close());
    const { port: taken } = holder.address() as AddressInfo;
    const free = await freePort();
    for (const [smtpPort, httpPort, told] of [
      [
        taken,
        free,
        `SMTP_HOST, SMTP_PORT: cannot listen on 127.0.0.1:${taken}: another program, or this server already `,
      ],
      [free, taken, `HTTP_PORT: 127.0.0.1:${taken} is taken by another program (or this server `],
    ] as const) {
      const { code, stdout, stderr, dataDir } = await failedStart(t, args, {
        SMTP_PORT: String(smtpPort),
        HTTP_PORT: String(httpPort),
      });
      assert.deepEqual([code, stdout], [1, '']);
      assert.ok(stderr.startsWith(`error: ${told}`) && stderr.trim().split('\n').length === 1, stderr);
      assert.deepEqual(await readdir(dataDir), []);
    }
  });

test('a process that cannot start is told in one line, without a stack', async (t) => {
  const database = await createTestDatabase();
  cleanUp(t, () => database.close());
  const [smtpPort, httpPort] = await Promise.all([freePort(), freePort()]);
  const { code, stdout, stderr } = await failedStart(t, ['--processes', '2'], {
    SMTP_PORT: String(smtpPort),
    HTTP_PORT: String(httpPort),
    DATABASE_URL: database.url,
    SMTP_TLS_CERT_FILE: '/nowhere/tls.crt',
    SMTP_TLS_KEY_FILE: '/nowhere/tls.key',
  });
  assert.deepEqual([code, stderr], [1, 'error: SMTP_TLS_CERT_FILE: /nowhere/tls.crt does not exist\n']);
  assert.doesNotMatch(stdout, /"stack"|not in order/);
});

async function failedStart(t: TestContext, args: readonly string[], env: Readonly<Record<string, string>>) {
  const dataDir = await temporaryFolder(t);
  const child = spawn(process.execPath, [launcher, 'start', ...args], {
    cwd: dataDir,
    env: { ...bareEnvironment(), DATA_DIR: dataDir, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
    detached: true,
  });
  // They end when the last process that could write to them has ended.
  const closed = once(child, 'close', { signal: AbortSignal.timeout(60_000) });
  const [stdout, stderr] = await Promise.all([text(child.stdout), text(child.stderr)]);
  const [code] = await closed;
  return { code, stdout, stderr, dataDir };
}

test('--processes without the role smtp is used wrongly', async (t) => {
  const cwd = await temporaryFolder(t);
  const args = [launcher, 'start', '--roles', 'worker', '--processes', '2'];
  const child = spawn(process.execPath, args, { cwd, env: bareEnvironment(), stdio: 'ignore' });
  assert.deepEqual(await once(child, 'exit'), [2, null]);
});
