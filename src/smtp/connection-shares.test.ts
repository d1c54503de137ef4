/** Many connections of few: by address, by balancer, and when the server is nearly full. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { ConnectionShares } from './connection-shares.ts';
import { defaultLimits } from './limits.ts';
import { eventually, inBatches, startServer } from './testing/running-server.ts';
import { openEnvelope } from './testing/wire-client.ts';

const busy = '127.0.0.1';

test('1,000 idle connections of one address: others are served, and the idle ones of the largest holder go first', async (t) => {
  const running = await startServer(t);
  const working = await running.connect(busy);
  await openEnvelope(working);
  await working.say('DATA', '354');
  const crowd = await inBatches(999, () => running.connect(busy));
  const greetings = await Promise.all(crowd.map((client) => client.reply()));
  const idle = crowd.filter((_, index) => greetings[index]?.startsWith('220'));
  assert.equal(idle.length, 499, 'half of all');
  assert.deepEqual(new Set(running.seen.refused), new Set(['too-many-connections-from-address']));

  // Ten others with 50 each, one of them more than that: all that could be had, and a mail through each.
  const others = await inBatches(500, (index) => running.connect(`127.0.1.${1 + (index % 10)}`));
  for (const client of others) await client.expect('220');
  await (await running.connect('127.0.1.1')).expect('421 4.7.0');
  const late = await running.connect('127.0.2.1');
  await openEnvelope(late);
  await late.say('DATA', '354');
  await late.say('late\r\n.', '250');

  const told = idle.filter(({ transcript }) => /^421 4\.7\.0 /m.test(transcript));
  assert.equal(told.length, 101, 'one for each that came when 900 were taken');
  assert.equal(running.server.connections, 900);
  await working.say('still here\r\n.', '250');
  assert.equal(running.receiver.accepted.length, 2);
  await eventually('they are gone', () => running.seen.closed.length >= 101);
});

test('the longest idle one goes first, and never one in the middle of a mail', async (t) => {
  const running = await startServer(t, { limits: { maxConnections: 5, maxConnectionsPerAddress: 5 } });
  const first = await running.connect(busy);
  await first.expect('220');
  await sleep(5);
  const mail = await running.connect(busy);
  await openEnvelope(mail);
  const second = await running.connect(busy);
  await second.expect('220');
  await sleep(5);
  await first.say('NOOP', '250');
  const third = await running.connect(busy);
  await third.expect('220');

  for (const [index, gone] of [second, first].entries()) {
    await (await running.connect(`127.0.3.${index}`)).expect('220');
    await gone.expect('421 4.7.0 Too many connections from your address');
  }
  // Two hold two each by now: here, the one that is idle; then there, the elder.
  await (await running.connect('127.0.3.0')).expect('220');
  await (await running.connect('127.0.3.3')).expect('220');
  await third.expect('421 4.7.0');
  await (await running.connect('127.0.3.4')).expect('220');
  await (await running.connect('127.0.3.5')).expect('421 4.3.2');
  await mail.say('DATA', '354');
  await mail.say('whole\r\n.', '250');
});

test('nobody gives way to one who holds as much', async (t) => {
  const running = await startServer(t, { limits: { maxConnections: 2 } });
  const [first, second] = [await running.connect('127.0.0.1'), await running.connect('127.0.0.2')];
  for (const client of [first, second]) await client.expect('220');
  await (await running.connect('127.0.0.3')).expect('421 4.3.2');
  for (const client of [first, second]) await client.say('NOOP', '250');
});

test('below half of all connections an address may have any number', async (t) => {
  const running = await startServer(t, { limits: { maxConnections: 20, maxConnectionsPerAddress: 1 } });
  for (let n = 0; n < 10; n++) await (await running.connect()).expect('220');
  await (await running.connect()).expect('421 4.7.0');
  await (await running.connect('127.0.0.2')).expect('220');
});

test('IPv6 is counted by /64, and an IPv4-mapped address as IPv4', () => {
  const shares = new ConnectionShares({ ...defaultLimits, maxConnections: 4, maxConnectionsPerAddress: 1 });
  const idle = () => ({ idleSince: () => 0 });
  const first = idle();
  shares.enter('2001:db8:1:2::1', first);
  shares.enter('192.0.2.1', idle());
  assert.equal(shares.refusal('2001:db8:1:2:ffff::9')?.condition, 'too-many-connections-from-address');
  assert.equal(shares.refusal('2001:db8:1:3::1'), null);
  assert.equal(shares.refusal('::ffff:192.0.2.1')?.condition, 'too-many-connections-from-address');
  shares.leave('2001:db8:1:2::1', first);
  shares.leave('2001:db8:1:2::1', first);
  assert.equal(shares.size, 1);
});

test('a balancer that sends no headers leaves room for another', async (t) => {
  const running = await startServer(t, { proxyProtocolFrom: ['127.0.0.0/8'], limits: { maxConnections: 6 } });
  for (let n = 0; n < 3; n++) await running.connect('127.0.0.1');
  await (await running.connect('127.0.0.1')).expect('421 4.3.2');
  const other = await running.connect('127.0.0.2');
  other.send('PROXY TCP4 192.0.2.1 198.51.100.1 56324 25\r\n');
  await other.expect('220');
});
