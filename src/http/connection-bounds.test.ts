import assert from 'node:assert/strict';
import { once } from 'node:events';
import { Agent, get as httpGet } from 'node:http';
import { connect, type Socket } from 'node:net';
import { type TestContext, test } from 'node:test';
import { createLog } from '../telemetry/log.ts';
import { createMetrics, type Metrics } from '../telemetry/metrics.ts';
import { cleanUp } from '../testing/clean-up.ts';
import { waitFor } from '../testing/wait-for.ts';
import { type ConnectionBounds, defaultBounds } from './connection-bounds.ts';
import type { Checks } from './readiness.ts';
import { createHttpServer } from './server.ts';

interface Served {
  readonly port: number;
  readonly logged: Record<string, unknown>[];
  /** On a connection of its own. Shape: the status. */
  get(path: string, from?: string): Promise<number>;
}

async function serve(
  t: TestContext,
  o: { bounds?: ConnectionBounds; checks?: Checks; metrics?: Metrics } = {},
): Promise<Served> {
  const logged: Record<string, unknown>[] = [];
  const server = createHttpServer({
    host: '0.0.0.0',
    port: 0,
    log: createLog({ level: 'info', format: 'json' }, { write: (line) => void logged.push(JSON.parse(line)) }),
    metrics: o.metrics ?? createMetrics(),
    checks: o.checks ?? { database: async () => {} },
    checkDeadlineMs: 60_000,
    ...(o.bounds ? { connectionBounds: o.bounds } : {}),
  });
  const { port } = await server.listen();
  cleanUp(t, () => server.close());
  const get = async (path: string, from = '127.0.0.1'): Promise<number> => {
    const request = httpGet({ port, path, host: '127.0.0.1', localAddress: from, agent: new Agent(), timeout: 20_000 });
    const [response] = await once(request, 'response');
    response.resume();
    await once(response, 'end');
    return response.statusCode;
  };
  return { port, logged, get };
}

interface Connection {
  readonly socket: Socket;
  readonly isOpen: () => boolean;
}

/** Resolves when it is connected and, with a `request`, has its answer; also when it is closed before. */
async function hold(t: TestContext, port: number, o: { from?: string; request?: string } = {}): Promise<Connection> {
  const socket = connect({ port, host: '127.0.0.1', localAddress: o.from ?? '127.0.0.1' });
  let open = true;
  const closed = new Promise<void>((resolve) => {
    socket.on('error', () => {});
    socket.once('close', () => {
      open = false;
      resolve();
    });
  });
  cleanUp(t, () => void socket.destroy());
  await Promise.race([once(socket, 'connect'), closed]);
  if (o.request !== undefined) {
    socket.write(o.request);
    await Promise.race([once(socket, 'data'), closed]);
  }
  socket.resume();
  return { socket, isOpen: () => open };
}

async function holdMany(
  t: TestContext,
  count: number,
  make: (n: number) => Promise<Connection>,
): Promise<Connection[]> {
  const held: Connection[] = [];
  for (let n = 0; n < count; n += 200) {
    held.push(...(await Promise.all(Array.from({ length: Math.min(200, count - n) }, (_, i) => make(n + i)))));
  }
  t.diagnostic(`${held.length} connections were opened`);
  return held;
}

const open = (held: readonly Connection[]): number => held.filter(({ isOpen }) => isOpen()).length;
const KEEP_ALIVE = 'GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n';

for (const [kind, request] of [
  ['that have had an answer', KEEP_ALIVE],
  ['that say nothing', undefined],
  ['that never end their request', 'GET /healthz HTTP/1.1\r\nX-'],
] as const) {
  test(`4,000 connections of one address ${kind}: health and readiness are answered all the while`, async (t) => {
    const { port, get, logged } = await serve(t);
    const other = await hold(t, port, { from: '127.0.0.2', request: KEEP_ALIVE });
    let flooding = true;
    const asking = (async () => {
      let answers = 0;
      while (flooding) {
        assert.deepEqual(
          await Promise.all([get('/readyz'), get('/healthz'), get('/readyz', '127.0.0.3')]),
          [200, 200, 200],
        );
        answers += 1;
      }
      return answers;
    })();
    const waitsForAnswer = request === KEEP_ALIVE;
    const held = await holdMany(t, 4_000, async () => {
      const connection = await hold(t, port, waitsForAnswer ? { request } : {});
      if (request !== undefined && !waitsForAnswer) connection.socket.write(request);
      return connection;
    });
    flooding = false;
    assert.ok((await asking) > 1);
    await waitFor(() => open(held) <= defaultBounds.waitingPerAddress, { what: 'the bound to be kept' });
    assert.ok(open(held) > defaultBounds.waitingPerAddress / 2, 'as many as are allowed may stay');
    assert.ok(other.isOpen(), 'another address loses nothing');
    assert.deepEqual([await get('/readyz'), await get('/healthz')], [200, 200]);
    assert.deepEqual(
      logged.map(({ level, msg }) => [level, msg]),
      [['warn', 'too many HTTP connections: the oldest are closed']],
    );
  });
}

test('over all addresses, the one with the most connections loses them, the oldest first', async (t) => {
  const { port, get } = await serve(t, { bounds: { ...defaultBounds, waitingPerAddress: 20, inAll: 50 } });
  const few = await holdMany(t, 10, (n) => hold(t, port, { from: `127.0.1.${n + 1}`, request: KEEP_ALIVE }));
  const many = await holdMany(t, 100, (n) => hold(t, port, { from: `127.0.2.${(n % 5) + 1}`, request: KEEP_ALIVE }));
  await waitFor(() => open([...few, ...many]) <= 50, { what: 'the bound to be kept' });
  assert.equal(open(few), 10);
  assert.equal(await get('/readyz', '127.0.3.1'), 200);
  assert.ok(!many[0]?.isOpen() && many.at(-1)?.isOpen());
});

test('a connection is not closed before its first request could be read', async (t) => {
  const { port } = await serve(t, { bounds: { waitingPerAddress: 5, inAll: 10, graceMs: 60_000 } });
  const first = await hold(t, port);
  await holdMany(t, 40, () => hold(t, port, { request: KEEP_ALIVE }));
  first.socket.write(KEEP_ALIVE);
  const [answer] = await once(first.socket, 'data', { signal: AbortSignal.timeout(20_000) });
  assert.match(String(answer), /^HTTP\/1\.1 200 /);
});

test('an answer that is owed is not cut off for others that wait for nothing', async (t) => {
  const asked = Promise.withResolvers<void>();
  const answer = Promise.withResolvers<void>();
  const database = async () => {
    asked.resolve();
    await answer.promise;
  };
  const { port, get } = await serve(t, {
    bounds: { ...defaultBounds, waitingPerAddress: 5, inAll: 10 },
    checks: { database },
  });
  const owed = get('/readyz');
  await asked.promise;
  const idle = await holdMany(t, 40, () => hold(t, port, { request: KEEP_ALIVE }));
  await waitFor(() => open(idle) <= 5, { what: 'the bound to be kept' });
  answer.resolve();
  assert.equal(await owed, 200);
});

test('/metrics is computed once for all who ask within a second', async (t) => {
  const metrics = createMetrics();
  let computed = 0;
  const scrape = () => {
    computed += 1;
    return metrics.scrape();
  };
  const beganAt = performance.now();
  const { get } = await serve(t, { metrics: { ...metrics, scrape } });
  for (let round = 0; round < 10; round += 1) await Promise.all(Array.from({ length: 10 }, () => get('/metrics')));
  const seconds = (performance.now() - beganAt) / 1_000;
  assert.ok(computed <= 1 + seconds, `${computed} times in ${seconds} s`);
  const before = computed;
  await waitFor(async () => (await get('/metrics')) === 200 && computed > before, { what: 'another computation' });
});
