/** The PROXY header before a session, over real sockets. */
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { createSecureContext } from 'node:tls';
import { makeCertificate, opensslProblem } from '../testing/certificate.ts';
import { missing } from '../testing/missing.ts';
import { createProxyGate } from './proxy-gate.ts';
import { createSmtpServer } from './server.ts';
import { createRecordingReceiver } from './testing/recording-receiver.ts';
import { eventually, type RunningServer, startServer } from './testing/running-server.ts';
import { openEnvelope, secureWireClient } from './testing/wire-client.ts';

const local = ['127.0.0.0/8'];
const text = 'PROXY TCP4 192.0.2.1 198.51.100.1 56324 25\r\n';
const signature = Buffer.from('\r\n\r\n\0\r\nQUIT\n', 'latin1');
const binary = Buffer.concat([signature, Buffer.from('2111000cc0000201c6336401dc040019', 'hex')]);
const localCommand = Buffer.concat([signature, Buffer.from([0x20, 0, 0, 0])]);

async function assertMail(running: RunningServer, header: string | Buffer): Promise<void> {
  const client = await running.connect();
  client.send(header);
  await openEnvelope(client);
  await client.say('DATA', '354');
  await client.say('x\r\n.', '250');
  await client.say('QUIT', '221');
  await client.untilClosed();
}

for (const [version, header] of [
  ['1', text],
  ['2', binary],
] as const) {
  test(`version ${version}: the client of the header is the one of the session, and the greeting waits for it`, async (t) => {
    const running = await startServer(t, { proxyProtocolFrom: local });
    const client = await running.connect();
    await sleep(30);
    assert.equal(client.transcript, '');
    assert.equal(running.server.connections, 0);
    for (const byte of Buffer.from(header as string, 'latin1')) {
      client.send(Buffer.from([byte]));
      await sleep(1);
    }
    await openEnvelope(client);
    await client.say('DATA', '354');
    await client.say('x\r\n.', '250');
    assert.deepEqual(running.seen.addresses, ['192.0.2.1 56324']);
    assert.equal(running.receiver.accepted[0]?.session.remoteAddress, '192.0.2.1');
    assert.deepEqual(running.seen.proxyProblems, []);
  });
}

/** Connects and resets at once, while this process does not run: the peer is gone when it is accepted. */
function connectAndReset(port: number, count: number): void {
  const script = `
    const { connect } = require('node:net');
    for (let n = 0; n < ${count}; n++) {
      const socket = connect(${port}, '127.0.0.1', () => socket.resetAndDestroy());
    }`;
  assert.equal(spawnSync(process.execPath, ['-e', script]).status, 0);
}

for (const [where, proxyProtocolFrom] of [
  ['where a header is awaited', local],
  ['where none is', []],
] as const) {
  test(`a peer that is gone when it is accepted is dropped without a word, ${where}`, async (t) => {
    const running = await startServer(t, { proxyProtocolFrom });
    connectAndReset(running.port, 20);
    await sleep(50);
    assert.deepEqual([running.seen.opened, running.seen.replies, running.seen.refused], [0, [], []]);
    assert.deepEqual([running.seen.proxyProblems, running.server.connections], [[], 0]);
    const client = await running.connect();
    client.send(proxyProtocolFrom.length > 0 ? text : '');
    await client.expect('220');
  });
}

test('LOCAL and UNKNOWN keep the address of the peer', async (t) => {
  const running = await startServer(t, { proxyProtocolFrom: local });
  await assertMail(running, localCommand);
  await assertMail(running, 'PROXY UNKNOWN\r\n');
  for (const mail of running.receiver.accepted) assert.equal(mail.session.remoteAddress, '127.0.0.1');
});

test('from anybody else a header is no header: it is refused as what it looks like', async (t) => {
  const running = await startServer(t, { proxyProtocolFrom: ['192.0.2.0/24', '2001:db8::/32'] });
  const early = await running.connect();
  early.send(text);
  // Before the greeting, or behind it: an early talker, or an unknown command.
  assert.match(await early.reply(), /^(554 5\.5\.1|220)/);
  const late = await running.connect();
  await late.expect('220');
  await late.say(text.trim(), '500 5.5.2');
  await late.say('NOOP', '250');
  late.send(binary);
  await late.expect('500');
  for (const address of running.seen.addresses) assert.match(address, /^127\.0\.0\.1 /);
});

test('a command in the packet of the header has come before the greeting', async (t) => {
  const running = await startServer(t, { proxyProtocolFrom: local });
  const client = await running.connect();
  client.send(`${text}EHLO c\r\nMAIL FROM:<a@b>\r\n`);
  await client.expect('554 5.5.1 Client spoke before the greeting');
  assert.deepEqual(await client.untilClosed(), []);
  assert.deepEqual(running.seen.addresses, ['192.0.2.1 56324']);
  assert.equal(running.receiver.mails.length, 0);
});

test('without a header, with a wrong one, or with one that never ends, the connection is closed and told', async (t) => {
  const running = await startServer(t, { proxyProtocolFrom: local, limits: { proxyHeaderTimeoutMs: 150 } });
  for (const [bytes, reason] of [
    ['EHLO c\r\n', 'no-header'],
    ['PROXY TCP4 nonsense\r\n', 'malformed'],
    [`PROXY ${'x'.repeat(200)}`, 'too-long'],
    [Buffer.concat([signature, Buffer.from([0x21, 0x11, 0xff, 0xff])]), 'too-long'],
    [Buffer.concat([signature, Buffer.from([0x51, 0x11, 0, 12])]), 'unsupported'],
    ['', 'timeout'],
    ['PROXY TCP4 ', 'timeout'],
  ] as const) {
    const client = await running.connect();
    if (bytes.length > 0) client.send(bytes as string);
    assert.deepEqual(await client.untilClosed(), []);
    assert.equal(client.transcript, '');
    assert.equal(running.seen.proxyProblems.at(-1), reason, JSON.stringify(bytes.toString('latin1')));
  }
  assert.equal(running.seen.opened, 0);
  await assertMail(running, text);
});

test('a balancer that only looks whether the port is open is not worth a word; half a header is', async (t) => {
  const running = await startServer(t, { proxyProtocolFrom: local });
  for (let count = 0; count < 20; count++) {
    const check = await running.connect();
    if (count % 2 === 0) check.destroy();
    else check.socket.end();
    await check.untilClosed();
  }
  const reset = await running.connect();
  reset.socket.resetAndDestroy();
  assert.deepEqual(running.seen.proxyProblems, []);
  const half = await running.connect();
  half.send('PROXY TC');
  await sleep(20);
  half.destroy();
  await eventually('it is told', () => running.seen.proxyProblems.length === 1);
  assert.deepEqual(running.seen.proxyProblems, ['incomplete']);
  assert.equal(running.seen.opened, 0);
  await running.server.close({ graceMs: 1_000 });
});

test('connections are counted by the address of the client, not of the balancer', async (t) => {
  const running = await startServer(t, {
    proxyProtocolFrom: local,
    limits: { maxConnections: 8, maxConnectionsPerAddress: 2 },
  });
  const open = async (address: string) => {
    const client = await running.connect();
    client.send(`PROXY TCP4 ${address} 198.51.100.1 56324 25\r\n`);
    return client;
  };
  for (const address of ['192.0.2.1', '192.0.2.1', '192.0.2.2', '192.0.2.3']) await (await open(address)).expect('220');
  await (await open('192.0.2.1')).expect('421 4.7.0');
  await (await open('192.0.2.2')).expect('220');
  const mapped = await running.connect();
  mapped.send('PROXY TCP6 ::ffff:c000:201 ::1 56324 25\r\n');
  await mapped.expect('421 4.7.0');
});

test('what waits for its header is bounded too, and a closing server does not wait for it', async (t) => {
  const running = await startServer(t, { proxyProtocolFrom: local, limits: { maxConnections: 6 } });
  const waiting = await Promise.all(Array.from({ length: 3 }, () => running.connect()));
  await sleep(20);
  await (await running.connect()).expect('421 4.3.2');
  const started = running.server.close({ graceMs: 60_000 });
  for (const client of waiting) assert.deepEqual(await client.untilClosed(), []);
  await started;
});

test('STARTTLS behind the header', async (t) => {
  const problem = opensslProblem();
  if (problem !== null) return missing(t, 'openssl', problem);
  const { cert, key } = await makeCertificate(t);
  const context = createSecureContext({ cert, key });
  const running = await startServer(t, { proxyProtocolFrom: local, tls: { secureContext: () => context } });
  const plain = await running.connect();
  plain.send(binary);
  await plain.expect('220');
  await plain.say('EHLO c', '250');
  await plain.say('STARTTLS', '220');
  const client = await secureWireClient(plain);
  await client.say('EHLO c', '250');
  await client.say('MAIL FROM:<a@b>', '250');
  const [mail] = running.receiver.mails;
  assert.equal(mail?.session.remoteAddress, '192.0.2.1');
  assert.equal(mail?.session.tls?.version, 'TLSv1.3');
});

test('swaks --proxy-version 1 and 2', async (t) => {
  if (spawnSync('swaks', ['--version']).status !== 0) return missing(t, 'swaks', 'apt-get install swaks');
  const running = await startServer(t, { proxyProtocolFrom: ['127.0.0.1'] });
  for (const version of ['1', '2']) {
    const proxy = ['--proxy-version', version, '--proxy-family', version === '1' ? 'TCP4' : 'AF_INET'];
    const more = version === '1' ? [] : ['--proxy-protocol', 'STREAM', '--proxy-command', 'PROXY'];
    const source = ['--proxy-source', '192.0.2.7', '--proxy-source-port', '1234'];
    const dest = ['--proxy-dest', '198.51.100.1', '--proxy-dest-port', '25'];
    const mail = ['--server', `127.0.0.1:${running.port}`, '--from', 'a@b.example', '--to', 'c@d.example'];
    const child = spawn('swaks', [...mail, ...proxy, ...more, ...source, ...dest]);
    t.after(() => child.kill());
    let said = '';
    child.stdout.setEncoding('latin1').on('data', (piece: string) => {
      said += piece;
    });
    child.stderr.setEncoding('latin1').on('data', (piece: string) => {
      said += piece;
    });
    const [code] = await once(child, 'close');
    assert.equal(code, 0, said);
    assert.equal(running.receiver.accepted.at(-1)?.session.remoteAddress, '192.0.2.7');
  }
});

test('the list: addresses, networks, IPv6, IPv4 written as IPv6; anything else is refused at once', () => {
  const gate = createProxyGate({
    from: ['10.0.0.5', '192.168.0.0/16', '2001:db8::/32', '::ffff:203.0.113.9', '::ffff:198.51.100.0/120'],
    timeoutMs: 1,
    passed: () => {},
    refused: () => {},
  });
  for (const listed of ['10.0.0.5', '192.168.255.1', '2001:db8:1::1', '203.0.113.9', '198.51.100.77'])
    assert.equal(gate.isListed(listed), true, listed);
  for (const other of [
    '10.0.0.6',
    '192.169.0.1',
    '2001:db9::1',
    'fe80::1%eth0',
    '203.0.113.8',
    '198.51.101.1',
    '',
    '::1',
  ])
    assert.equal(gate.isListed(other), false, other);
  for (const wrong of ['everybody', '10.0.0.0/33', '10.0.0.0/', '10.0.0.0/8/8', ''])
    assert.throws(
      () => createSmtpServer({ receiver: createRecordingReceiver(), hostName: 'x', proxyProtocolFrom: [wrong] }),
      RangeError,
      wrong,
    );
});
