import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import { type TestContext, test } from 'node:test';
import { missing } from '../src/testing/missing.ts';
import { openClientLoad, openSink, openSmtpSourceLoad } from './load.ts';
import { type LoadJob, runLoad } from './load-run.ts';

const job: Omit<LoadJob, 'port'> = {
  host: '127.0.0.1',
  senders: 3,
  reuse: false,
  sizeBytes: 10_000,
  until: { mails: 7 },
  run: 'test',
};

async function openServer(t: TestContext, serve: (socket: Socket) => void): Promise<number> {
  const server = createServer(serve).listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => server.close());
  return (server.address() as AddressInfo).port;
}

for (const reuse of [false, true]) {
  for (const sizeBytes of [10_000, 1_000_000]) {
    test(`exactly as many mails as asked, of ${sizeBytes} bytes, ${reuse ? 'many' : 'one'} a session`, async (t) => {
      const [sink, client] = [await openSink(), openClientLoad()];
      t.after(() => Promise.all([sink.close(), client.close()]));
      const result = await client.send({ ...job, reuse, sizeBytes, port: sink.port });
      assert.deepEqual(result.replies, { '250': 7 });
      assert.equal(result.accepted, 7);
      assert.equal(result.ackMs.length, 7);
      assert.ok(result.ackMs.every((ms) => ms > 0 && ms <= result.elapsedMs));
    });
  }
}

test('refusals are counted by code and are no throughput', async (t) => {
  const port = await openServer(t, (socket) => {
    socket.on('error', () => {});
    socket.write('220-first\r\n220 second\r\n');
    socket.on('data', (bytes) => {
      const verb = String(bytes).slice(0, 4);
      socket.write(verb === 'RCPT' ? '550 5.1.1 no such user\r\n' : '250-one\r\n250 two\r\n');
    });
  });
  const result = await runLoad({ ...job, port, until: { mails: 4 } });
  assert.equal(result.accepted, 0);
  assert.deepEqual(result.replies, { '550': 4 });
});

test('a server that hangs up, or is not there, ends the run', async (t) => {
  const port = await openServer(t, (socket) => socket.end('220 hello\r\n'));
  const cut = await runLoad({ ...job, port, until: { seconds: 20 } });
  assert.equal(cut.accepted, 0);
  assert.ok(Object.values(cut.replies).reduce((sum, count) => sum + count) >= job.senders);
  const absent = await runLoad({ ...job, port: 1, until: { seconds: 20 } });
  assert.deepEqual(Object.keys(absent.replies), ['ECONNREFUSED']);
});

test('smtp-source, where it is installed, sends as many as asked', async (t) => {
  const load = await openSmtpSourceLoad();
  if (load === null) return missing(t, 'smtp-source', 'install Postfix');
  const sink = await openSink();
  t.after(() => sink.close());
  const result = await load.send({ ...job, port: sink.port });
  assert.equal(result.accepted, 7);
  const refused = await load.send({ ...job, port: 1 });
  assert.equal(refused.accepted, 0);
  assert.match(Object.keys(refused.replies).join(), /Connection refused/);
});
