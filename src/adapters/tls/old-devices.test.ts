/** Which versions of TLS a certificate is served with, seen by openssl on a running SMTP server, and what is told of it. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { type TestContext, test } from 'node:test';
import type { SecureVersion } from 'node:tls';
import pino from 'pino';
import { createSmtpObserver } from '../../intake/observer.ts';
import { createSmtpServer, type MailReceiver } from '../../smtp/index.ts';
import { refusals } from '../../smtp/testing/refusals.ts';
import { createBoundedLines } from '../../telemetry/bounded-lines.ts';
import { createMetrics } from '../../telemetry/metrics.ts';
import { visibleBeginning } from '../../telemetry/visible-text.ts';
import { makeCertificate, opensslProblem } from '../../testing/certificate.ts';
import { cleanUp } from '../../testing/clean-up.ts';
import { missing } from '../../testing/missing.ts';
import { connectSmtp } from '../../testing/smtp-client.ts';
import { waitFor } from '../../testing/wait-for.ts';
import { loadCertificate } from './certificate.ts';

interface Served {
  readonly port: number;
  /** TLS versions of mails that were begun. */
  readonly versions: (string | undefined)[];
  /** Of failed handshakes: what the client offered, and why it failed. */
  readonly failures: { readonly msg: string; readonly offered: string | null; readonly reason: string | null }[];
  counted(): Promise<Readonly<Record<string, number>>>;
}

async function serve(t: TestContext, minVersion?: SecureVersion): Promise<Served> {
  const files = await makeCertificate(t);
  const { secureContext } = await loadCertificate({ ...files, ...(minVersion && { minVersion }) });
  const versions: Served['versions'] = [];
  const failures: Served['failures'] = [];
  const metrics = createMetrics();
  const write = (line: string): void => {
    const told = JSON.parse(line);
    // Each mail is refused; the lines that tell so are another matter.
    if (told.msg !== 'SMTP refusals') failures.push(told);
  };
  const log = pino({ base: null }, { write });
  const receiver: MailReceiver = {
    async begin(session) {
      versions.push(session.tls?.version);
      return { refusal: refusals['sender-blocked'] };
    },
  };
  const observer = createSmtpObserver({ log, metrics, lines: createBoundedLines({ log }), clean: visibleBeginning });
  const tls = { secureContext: () => secureContext };
  const server = createSmtpServer({ receiver, hostName: 'mx.example', tls, observer });
  const { port } = await server.listen({ host: '127.0.0.1', port: 0 });
  cleanUp(t, () => server.close({ graceMs: 0 }));
  return {
    port,
    versions,
    failures,
    async counted() {
      const { text } = await metrics.scrape();
      const found = text.matchAll(/^smtp_connections_total\{tls_version="([^"]+)"\} ([1-9]\d*)$/gm);
      return Object.fromEntries([...found].map(([, version = '', count]) => [version, Number(count)]));
    },
  };
}

/** Has openssl shake hands and begin a mail; its exit says nothing. */
async function connect(t: TestContext, { port }: Served, ...options: readonly string[]): Promise<void> {
  const where = ['s_client', '-starttls', 'smtp', '-connect', `127.0.0.1:${port}`, '-quiet', '-crlf', ...options];
  const child = spawn('openssl', where, { stdio: ['pipe', 'ignore', 'ignore'] });
  cleanUp(t, () => void child.kill());
  child.stdin.on('error', () => {});
  child.stdin.end('EHLO scanner\nMAIL FROM:<a@b.example>\nQUIT\n');
  await once(child, 'close');
}

const TLS_1_0 = ['-tls1', '-cipher', 'DEFAULT@SECLEVEL=0'];
const TLS_1_1 = ['-tls1_1', '-cipher', 'DEFAULT@SECLEVEL=0'];

function tlsTest(name: string, body: (t: TestContext) => Promise<void>): void {
  test(name, { timeout: 60_000 }, (t) => {
    const problem = opensslProblem();
    return problem === null ? body(t) : missing(t, 'openssl', problem);
  });
}

for (const [minVersion, taken] of [
  ['TLSv1', ['TLSv1', 'TLSv1.1', 'TLSv1.2', 'TLSv1.3']],
  ['TLSv1.1', ['TLSv1.1', 'TLSv1.2', 'TLSv1.3']],
  [undefined, ['TLSv1.2', 'TLSv1.3']],
  ['TLSv1.3', ['TLSv1.3']],
] as const) {
  tlsTest(
    `with ${minVersion ?? 'no version'} set, ${taken.join(', ')} are spoken and counted, and no other`,
    async (t) => {
      const served = await serve(t, minVersion);
      for (const version of [TLS_1_0, TLS_1_1, ['-tls1_2'], ['-tls1_3']]) await connect(t, served, ...version);
      const refused = ['TLSv1', 'TLSv1.1', 'TLSv1.2', 'TLSv1.3'].filter(
        (version) => !taken.some((one) => one === version),
      );
      await waitFor(() => served.failures.length >= refused.length, { what: 'the failed handshakes' });
      assert.deepEqual(served.versions, taken);
      assert.deepEqual(
        served.failures.filter(({ msg }) => msg.startsWith('TLS')).map(({ offered, reason }) => `${offered} ${reason}`),
        refused.map((version) => `${version} ERR_SSL_UNSUPPORTED_PROTOCOL`),
      );
      const expected = Object.fromEntries(taken.map((version) => [version, 1]));
      const all = { ...expected, ...(refused.length > 0 && { none: refused.length }) };
      const sum = (counts: Readonly<Record<string, number>>) => Object.values(counts).reduce((a, b) => a + b, 0);
      await waitFor(async () => sum(await served.counted()) === 4, { what: 'four ended connections' });
      assert.deepEqual(await served.counted(), all);
    },
  );
}

tlsTest('a failed handshake tells what the client offered, as far as it said anything', async (t) => {
  const served = await serve(t);
  await connect(t, served, '-tls1_2', '-cipher', 'AES128-SHA');
  const client = await connectSmtp({ port: served.port });
  cleanUp(t, () => client.close());
  await client.readReply('greeting');
  await client.command('EHLO c');
  await client.command('STARTTLS');
  await client.write('MAIL FROM:<a@b.example>\r\n');
  await client.closed;
  await waitFor(() => served.failures.length >= 2, { what: 'two lines' });
  assert.deepEqual(
    served.failures.map(({ msg, offered, reason }) => [msg, offered, reason]),
    [
      ['TLS handshake failed', 'TLSv1.2', 'ERR_SSL_NO_SHARED_CIPHER'],
      ['TLS handshake failed', null, 'ERR_SSL_WRONG_VERSION_NUMBER'],
    ],
  );
});
