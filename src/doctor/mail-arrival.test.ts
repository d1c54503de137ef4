/** Each state of DNS for real: a name server that says it, one that is silent, and the doctor as an operator runs it. */
import assert from 'node:assert/strict';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { networkInterfaces } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { createTestCli } from '../cli/test-context.ts';
import * as compose from '../compose/index.ts';
import type { Finding } from '../ports/finding.ts';
import { createSmtpServer } from '../smtp/index.ts';
import { refusals } from '../smtp/testing/refusals.ts';
import { makeCertificate, opensslProblem } from '../testing/certificate.ts';
import { cleanUp } from '../testing/clean-up.ts';
import { freePort } from '../testing/free-port.ts';
import { missing } from '../testing/missing.ts';
import { startNameServer, type TestRecord } from '../testing/name-server.ts';
import { temporaryFolder } from '../testing/temporary-folder.ts';
import { SECTIONS } from './mail-arrival.ts';
import { createMailDns } from './mail-dns.ts';
import { findMailRoute, type MailRoute } from './mail-route.ts';

const DOMAIN = 'orders.acme.org';

interface Examined {
  readonly code: number;
  readonly stdout: string;
  readonly findings: readonly Finding[];
}

async function doctor(t: TestContext, env: Record<string, string>, ...options: string[]): Promise<Examined> {
  const cwd = await temporaryFolder(t);
  const [smtp, http] = await Promise.all([freePort(), freePort()]);
  const given = { SMTP_DOMAIN: DOMAIN, SMTP_PORT: `${smtp}`, HTTP_PORT: `${http}`, ...env };
  const { code, stdout, stderr } = await createTestCli({ compose, cwd, env: given }).run(
    'doctor',
    '--json',
    ...options,
  );
  assert.doesNotMatch(stderr, /unexpected|\n\s+at /);
  const { findings } = JSON.parse(stdout) as { findings: Finding[] };
  assert.equal(code, findings.some(({ state }) => state === 'broken') ? 1 : 0);
  return { code, stdout, findings };
}

function find({ findings }: Examined, check: string, state: Finding['state'], words: RegExp): Finding {
  const found = findings.find((one) => one.check === check && one.state === state && words.test(one.found));
  assert.ok(found, `${state} ${check} ${words} is not among\n${JSON.stringify(findings, null, 1)}`);
  return found;
}

/** With the records, and of the domain alone. */
async function ask(t: TestContext, records: readonly TestRecord[], env = {}): Promise<Examined | null> {
  const server = await startNameServer(t, records);
  return server && doctor(t, env, '--domain', DOMAIN, '--dns-servers', server.address);
}

const ownAddress = Object.values(networkInterfaces())
  .flat()
  .find((one) => one?.family === 'IPv4' && !one.internal)?.address;

for (const [what, records, state, words, section] of [
  ['no MX record and no address', [], 'warning', /neither an MX record nor an address: no mail from outside/, 'ownMx'],
  ['a null MX', [{ name: DOMAIN, mx: '' }], 'warning', /has a null MX.*RFC 7505/, 'ownMx'],
  [
    'an MX of Microsoft 365',
    [
      { name: DOMAIN, mx: 'orders-acme-org.mail.protection.outlook.com', priority: 0 },
      { name: 'orders-acme-org.mail.protection.outlook.com', address: '192.0.2.10' },
    ],
    'warning',
    /leads to Microsoft 365, not here: orders-acme-org\.mail\.protection\.outlook\.com \(192\.0\.2\.10\)/,
    'microsoft365',
  ],
  [
    'a newer MX of Microsoft 365',
    [
      { name: DOMAIN, mx: 'orders-acme-org.o-v1.mx.microsoft' },
      { name: 'orders-acme-org.o-v1.mx.microsoft', address: '192.0.2.10' },
    ],
    'warning',
    /leads to Microsoft 365/,
    'microsoft365',
  ],
  [
    'a mistyped MX of Microsoft 365',
    [{ name: DOMAIN, mx: 'orders-amce-org.mail.protection.outlook.com' }],
    'warning',
    /^the MX host orders-amce-org\.mail\.protection\.outlook\.com .* has no address/,
    null,
  ],
  [
    'the MX records of Google',
    [
      { name: DOMAIN, mx: 'alt1.aspmx.l.google.com', priority: 5 },
      { name: DOMAIN, mx: 'aspmx.l.google.com', priority: 1 },
      { name: 'aspmx.l.google.com', address: '192.0.2.11' },
      { name: 'alt1.aspmx.l.google.com', address: '192.0.2.12' },
    ],
    'warning',
    /leads to Google, not here: aspmx\.l\.google\.com/,
    'google',
  ],
  [
    'an MX record whose host has no address',
    [{ name: DOMAIN, mx: 'mx.acme.org' }],
    'warning',
    /^the MX host mx\.acme\.org of orders\.acme\.org has no address/,
    null,
  ],
  [
    'an MX record with an address in it',
    [{ name: DOMAIN, mx: '192.0.2.25' }],
    'warning',
    /names the address 192\.0\.2\.25: it must name a host/,
    null,
  ],
  [
    'an MX record that names an alias',
    [
      { name: DOMAIN, mx: 'mail.acme.org' },
      { name: 'mail.acme.org', alias: 'host.acme.org' },
      { name: 'host.acme.org', address: '127.0.0.1' },
    ],
    'warning',
    /^the MX host mail\.acme\.org .* is an alias \(CNAME\) of host\.acme\.org.*RFC 2181/,
    null,
  ],
] as const) {
  test(`a domain with ${what}`, async (t) => {
    const examined = await ask(t, records);
    if (examined === null) return;
    const { mend } = find(examined, 'mx', state, words);
    if (section !== null) assert.ok(mend?.includes(SECTIONS[section]), `${mend}`);
    assert.equal(examined.code, 0, 'none of it is broken: mail may come by way of another server');
  });
}

const FILTER = '127.255.255.1';

test('an MX leads here by an address of this machine', async (t) => {
  if (ownAddress === undefined) return missing(t, 'a network', 'this machine has the loopback interface alone');
  const examined = await ask(t, [
    { name: DOMAIN, mx: 'gone.acme.org', priority: 1 },
    { name: DOMAIN, mx: 'filter.acme.org', priority: 5 },
    { name: DOMAIN, mx: 'MX.acme.org', priority: 5 },
    // Whichever way round the answer is.
    { name: DOMAIN, mx: 'filter2.acme.org', priority: 5 },
    { name: 'filter2.acme.org', address: FILTER },
    { name: 'filter.acme.org', address: FILTER },
    { name: 'mx.acme.org', address: ownAddress },
  ]);
  if (examined === null) return;
  find(examined, 'mx', 'warning', /the MX host gone\.acme\.org .* has no address/);
  const { found } = find(examined, 'mx', 'ok', /the MX of orders\.acme\.org leads here: mx\.acme\.org/);
  assert.doesNotMatch(found, /only this machine/);
  // Nothing listens on port 25 of it, and the server would listen on loopback.
  find(
    examined,
    'port 25',
    'warning',
    /senders deliver to port 25 of .*; this server listens on 127\.0\.0\.1, port \d+/,
  );
});

test('an MX that leads here only after another server leads elsewhere', async (t) => {
  const examined = await ask(t, [
    { name: DOMAIN, mx: 'filter.acme.org', priority: 5 },
    { name: DOMAIN, mx: 'mx.acme.org', priority: 20 },
    { name: 'filter.acme.org', address: FILTER },
    { name: 'mx.acme.org', address: '127.0.0.1' },
  ]);
  if (examined === null) return;
  find(
    examined,
    'mx',
    'warning',
    /leads to another server, not here: filter\.acme\.org .*here only while that one does/,
  );
});

test('a domain without MX record whose own address leads here; loopback is said to be no way from outside', async (t) => {
  const examined = await ask(t, [{ name: DOMAIN, address: '127.0.0.1' }]);
  if (examined === null) return;
  find(
    examined,
    'mx',
    'ok',
    /no MX record; its address \(RFC 5321 §5\.1\) leads here: .*; only this machine reaches it/,
  );
});

/** The answers of a server behind NAT or a balancer, whose address is none of this machine's. */
async function routeTo(t: TestContext, greeting: 'ours' | 'another' | 'nobody', mx: string): Promise<MailRoute | null> {
  const server = await startNameServer(t, [
    { name: DOMAIN, mx },
    { name: mx, address: '127.0.0.1' },
  ]);
  if (server === null) return null;
  const port = await portThatGreets(t, greeting);
  const dns = createMailDns({ servers: [server.address] });
  return findMailRoute(DOMAIN, { dns, announcedName: DOMAIN, ownAddresses: [], port });
}

async function portThatGreets(t: TestContext, greeting: 'ours' | 'another' | 'nobody'): Promise<number> {
  if (greeting === 'nobody') return freePort();
  if (greeting === 'ours') {
    const smtp = createSmtpServer({
      receiver: { begin: async () => ({ refusal: refusals.unavailable }) },
      hostName: DOMAIN,
    });
    cleanUp(t, () => smtp.close({ graceMs: 0 }));
    return (await smtp.listen({ host: '127.0.0.1', port: 0 })).port;
  }
  const other = createServer((socket) => {
    socket.on('error', () => {});
    socket.write(`220 ${DOMAIN} ESMTP Postfix\r\n`);
    socket.on('data', () => socket.end(`250 ${DOMAIN}\r\n`));
  }).listen(0, '127.0.0.1');
  await once(other, 'listening');
  cleanUp(t, () => void other.close());
  return (other.address() as { port: number }).port;
}

for (const [greeting, mx, leads] of [
  ['ours', 'mx.acme.org', 'here'],
  ['another', 'mx.acme.org', 'elsewhere'],
  ['another', DOMAIN, 'elsewhere'],
  ['nobody', DOMAIN, 'perhaps-here'],
  ['nobody', 'mx.acme.org', 'elsewhere'],
] as const) {
  test(`an address that is not this machine's, where ${greeting} answers as ${mx}: ${leads}`, async (t) => {
    const route = await routeTo(t, greeting, mx);
    if (route === null) return;
    assert.ok(route.kind === 'hosts');
    assert.deepEqual(
      route.hosts.map((host) => [host.name, host.leads, host.greeting?.ours ?? null]),
      [[mx, leads, { ours: true, another: false, nobody: null }[greeting]]],
    );
  });
}

test('DNS that does not answer is a warning within seconds, and the rest is looked at', async (t) => {
  const socket = createSocket('udp4');
  socket.bind(0, '127.0.0.1');
  await once(socket, 'listening');
  cleanUp(t, () => void socket.close());
  const startedAt = performance.now();
  const examined = await doctor(t, {}, '--dns-servers', `127.0.0.1:${socket.address().port}`);
  assert.ok(performance.now() - startedAt < 9_000);
  find(examined, 'dns', 'warning', /DNS does not answer \(ETIMEOUT\): where mail for orders\.acme\.org goes/);
  find(examined, 'node', 'ok', /Node/);
  assert.equal(examined.code, 0);
});

test('a name server that is not there, and one that refuses', async (t) => {
  const away = await doctor(t, {}, '--domain', DOMAIN, '--dns-servers', `127.0.0.1:${await freePort()}`);
  find(away, 'dns', 'warning', /DNS does not answer \(E\w+\)/);
});

test("the example's domain is told, nobody is asked of it, and so is a reserved one", async (t) => {
  const example = await doctor(t, { SMTP_DOMAIN: 'orderflow.example.com' });
  find(example, 'domain', 'warning', /SMTP_DOMAIN is still orderflow\.example\.com, the example's/);
  assert.ok(!example.findings.some(({ check }) => check === 'mx' || check === 'dns'));
  const server = await startNameServer(t, []);
  if (server === null) return;
  const reserved = await doctor(t, { SMTP_DOMAIN: 'orders.example.net' }, '--dns-servers', server.address);
  find(reserved, 'domain', 'warning', /orders\.example\.net is a name reserved for examples/);
  const ours = await doctor(t, { SMTP_DOMAIN: 'orders.myexample.net' }, '--dns-servers', server.address);
  assert.ok(!ours.findings.some(({ check }) => check === 'domain'));
});

test('a company whose address is an alias: what is none of SMTP_DOMAIN is named, and the section that serves', async (t) => {
  const server = await startNameServer(t, [
    { name: 'acme.org', mx: 'smtp.google.com' },
    { name: 'smtp.google.com', address: '192.0.2.11' },
    { name: 'old.acme.org', mx: 'mx.acme.org' },
    { name: 'mx.acme.org', address: '127.0.0.1' },
  ]);
  if (server === null) return;
  const both = ['--domain', 'Acme.org', '--domain', 'old.acme.org', '--dns-servers', server.address];
  const examined = await doctor(t, {}, ...both);
  find(examined, 'domain', 'ok', /acme\.org is none of SMTP_DOMAIN.*orders\+<slug>@orders\.acme\.org.*orders@company/);
  find(examined, 'mx', 'ok', /acme\.org leads to Google, not here.*From Google Workspace/);
  find(examined, 'mx', 'warning', /old\.acme\.org leads here \(mx\.acme\.org.*where its mail is refused/);
  assert.deepEqual(
    [...new Set(examined.findings.map(({ check }) => check))].sort(),
    ['domain', 'mx', 'port 25', 'settings', 'starttls'],
    'nothing but what decides whether mail arrives',
  );
});

test('without STARTTLS it warns; a certificate is held against the MX host, not against localhost or the domain', async (t) => {
  const why = opensslProblem();
  if (why !== null) return missing(t, 'openssl', why);
  const server = await startNameServer(t, [
    { name: DOMAIN, mx: 'mx1.acme.org' },
    { name: 'mx1.acme.org', address: '127.0.0.1' },
  ]);
  if (server === null) return;
  const withCertificate = async (name: string, days = 90): Promise<Examined> => {
    const { certFile, keyFile } = await makeCertificate(t, { name, days });
    const env = { SMTP_TLS_CERT_FILE: certFile, SMTP_TLS_KEY_FILE: keyFile };
    return doctor(t, env, '--domain', DOMAIN, '--dns-servers', server.address);
  };
  const none = await doctor(t, {}, '--domain', DOMAIN, '--dns-servers', server.address);
  find(none, 'starttls', 'warning', /STARTTLS is not offered: mail comes in clear text/);
  for (const name of ['mx1.acme.org', '*.acme.org'])
    find(await withCertificate(name), 'certificate', 'ok', /is valid, and for mx1\.acme\.org, as the MX record has it/);
  for (const name of ['localhost', DOMAIN, '*.mx1.acme.org', '*.org']) {
    const examined = await withCertificate(name);
    find(examined, 'certificate', 'warning', /is for .*, not for mx1\.acme\.org, which MX records name/);
    assert.ok(!examined.findings.some(({ check }) => check === 'starttls'));
  }
  find(await withCertificate('mx1.acme.org', -1), 'certificate', 'broken', /expired on/);
});

test('behind another server names are not judged; without DNS they are held against the domains', async (t) => {
  const why = opensslProblem();
  if (why !== null) return missing(t, 'openssl', why);
  const { certFile, keyFile } = await makeCertificate(t, { name: 'inside.acme.org', days: 90 });
  const env = { SMTP_TLS_CERT_FILE: certFile, SMTP_TLS_KEY_FILE: keyFile };
  const relayed = await ask(
    t,
    [
      { name: DOMAIN, mx: 'smtp.google.com' },
      { name: 'smtp.google.com', address: '192.0.2.11' },
    ],
    env,
  );
  if (relayed === null) return;
  find(relayed, 'certificate', 'ok', /is valid$/);
  const away = await doctor(t, env, '--domain', DOMAIN, '--dns-servers', `127.0.0.1:${await freePort()}`);
  find(away, 'certificate', 'warning', /is for inside\.acme\.org, not for orders\.acme\.org/);
});

test('for people: what is seen of a domain, and what was typed wrongly', async (t) => {
  const server = await startNameServer(t, [{ name: DOMAIN, mx: '' }]);
  if (server === null) return;
  const cli = createTestCli({ compose, cwd: await temporaryFolder(t), env: { SMTP_DOMAIN: DOMAIN } });
  const { code, stdout } = await cli.run('doctor', '--domain', DOMAIN, '--dns-servers', server.address);
  assert.equal(code, 0);
  assert.match(stdout, /^warning {2}mx +orders\.acme\.org has a null MX/m);
  for (const wrong of [
    ['--domain', 'not a domain'],
    ['--dns-servers', 'dns.example.com'],
    ['--domain', DOMAIN, '--adopt-store'],
  ]) {
    assert.equal((await cli.run('doctor', ...wrong)).code, 2, wrong.join(' '));
  }
});

test('the sections that findings name are headings of docs/receiving.md', async () => {
  const page = await readFile(join(import.meta.dirname, '../../docs/receiving.md'), 'utf8');
  const headings = [...page.matchAll(/^#+ (.*)$/gm)].map(([, heading]) => heading);
  for (const section of Object.values(SECTIONS)) assert.ok(headings.includes(section), section);
});
