import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect } from 'node:net';
import { type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { NotReadyError } from '../ports/not-ready.ts';
import { StoreError } from '../ports/object-store.ts';
import { createLog } from '../telemetry/log.ts';
import { createMetrics } from '../telemetry/metrics.ts';
import { cleanUp } from '../testing/clean-up.ts';
import { ListenError } from './listen-error.ts';
import type { Checks } from './readiness.ts';
import { createHttpServer, type HttpServerOptions } from './server.ts';

const fine: Checks = { database: async () => {}, object_store: async () => {}, jobs: async () => {} };

async function serve(t: TestContext, options: Partial<HttpServerOptions> = {}) {
  const logged: Record<string, unknown>[] = [];
  const log = createLog({ level: 'info', format: 'json' }, { write: (line) => void logged.push(JSON.parse(line)) });
  const server = createHttpServer({
    host: '127.0.0.1',
    port: 0,
    log,
    metrics: createMetrics(),
    checks: fine,
    ...options,
  });
  const { port } = await server.listen();
  cleanUp(t, () => server.close());
  const get = async (path: string, init?: RequestInit) => {
    const response = await fetch(`http://127.0.0.1:${port}${path}`, { signal: AbortSignal.timeout(10_000), ...init });
    const text = await response.text();
    return { status: response.status, headers: response.headers, text, json: () => JSON.parse(text) };
  };
  return { server, port, get, logged };
}

test('/healthz says ok while the process lives, whatever its dependencies do', async (t) => {
  const { get } = await serve(t, { checks: { database: () => Promise.reject(new Error('down')) } });
  const answer = await get('/healthz');
  assert.equal(answer.status, 200);
  assert.deepEqual(answer.json(), { status: 'ok' });
});

test('/readyz is 200 when every check passes', async (t) => {
  const answer = await (await serve(t)).get('/readyz');
  assert.equal(answer.status, 200);
  assert.deepEqual(answer.json(), {
    status: 'ready',
    checks: { database: { ready: true }, object_store: { ready: true }, jobs: { ready: true } },
  });
});

test('/readyz is 503 and names each part that is not ready, in words, without a secret', async (t) => {
  const secret = 'postgresql://app:hunter2@10.9.8.7:5432/orders';
  const refused = Object.assign(new Error(`connect ECONNREFUSED ${secret}`), { code: 'ECONNREFUSED' });
  const { get, logged } = await serve(t, {
    checkDeadlineMs: 50,
    checks: {
      database: () => Promise.reject(new Error(secret, { cause: new AggregateError([refused]) })),
      object_store: () =>
        Promise.reject(
          new StoreError('store-unavailable', secret, { cause: Object.assign(new Error(), { code: 'EROFS' }) }),
        ),
      jobs: () => new Promise(() => {}),
      other: () => Promise.reject(new Error(secret)),
      fine: async () => {},
    },
  });
  const before = Date.now();
  const answer = await get('/readyz');
  assert.equal(answer.status, 503);
  const { status, checks } = answer.json() as { status: string; checks: Record<string, { since?: string }> };
  const without = Object.entries(checks).map(([name, { since: _, ...rest }]) => [name, rest]);
  assert.deepEqual(
    { status, checks: Object.fromEntries(without) },
    {
      status: 'not ready',
      checks: {
        database: { ready: false, reason: 'refuses connections: it is not running, or not at the configured address' },
        object_store: { ready: false, reason: 'is read-only' },
        jobs: { ready: false, reason: 'gave no answer within 50 ms' },
        other: { ready: false, reason: 'failed; the log says more' },
        fine: { ready: true },
      },
    },
  );
  const { fine, ...failing } = checks;
  assert.equal(fine?.since, undefined);
  for (const { since } of Object.values(failing)) assert.ok(Date.parse(since ?? '') >= before, String(since));
  assert.doesNotMatch(answer.text, /hunter2|10\.9\.8\.7/);
  assert.equal(logged.filter(({ level }) => level === 'warn').length, 4);
});

test('/metrics asks the parts of /readyz itself, and tells of each whether it is ready', async (t) => {
  const metrics = createMetrics();
  let down = false;
  const jobs = async () => {
    if (down) throw new Error('down');
  };
  const { get } = await serve(t, { metrics, checks: { ...fine, jobs }, toldOnly: ['jobs'] });
  const told = async () => (await get('/metrics')).text.match(/^ready\{.*$/gm);
  const others = ['ready{part="database"} 1', 'ready{part="object_store"} 1'];
  assert.deepEqual(await told(), [...others, 'ready{part="jobs"} 1']);
  assert.equal((await get('/readyz')).status, 200);
  down = true;
  await sleep(1_050); // A scrape is kept for a second.
  assert.deepEqual(await told(), [...others, 'ready{part="jobs"} 0']);
  assert.equal((await get('/readyz')).status, 200, 'not decisive, and told all the same');
});

test('each part says since when it is not ready: by its own word, or since it was first asked in vain', async (t) => {
  const still = new NotReadyError('no-job-finished', 'still', new Date('2026-03-01T10:00:00Z'));
  let down = true;
  const database = async () => {
    if (down) throw new Error('down');
  };
  const { get } = await serve(t, { checks: { database, jobs: () => Promise.reject(still) } });
  const since = async (name: string) => {
    const { checks } = (await get('/readyz')).json() as { checks: Record<string, { since?: string }> };
    return checks[name]?.since;
  };
  const first = await since('database');
  await sleep(5);
  assert.equal(await since('database'), first, 'the first time counts');
  assert.equal(await since('jobs'), '2026-03-01T10:00:00.000Z');
  down = false;
  assert.equal(await since('database'), undefined);
  down = true;
  assert.notEqual(await since('database'), first, 'another time of trouble');
});

test('a check that changes is logged once, not at every probe', async (t) => {
  let down = true;
  const database = async () => {
    if (down) throw new Error('down');
  };
  const { get, logged } = await serve(t, { checks: { database } });
  for (let i = 0; i < 3; i += 1) await get('/readyz');
  down = false;
  for (let i = 0; i < 3; i += 1) assert.equal((await get('/readyz')).status, 200);
  assert.deepEqual(
    logged.map(({ level, check, msg }) => [level, check, msg]),
    [
      ['warn', 'database', 'not ready: failed; the log says more'],
      ['info', 'database', 'ready again'],
    ],
  );
});

test('checks run at the same time: two slow ones take one deadline', async (t) => {
  let together = 0;
  const both = Promise.withResolvers<void>();
  const waitsForTheOther = async () => {
    together += 1;
    if (together === 2) both.resolve();
    await both.promise;
  };
  const { get } = await serve(t, {
    checkDeadlineMs: 5_000,
    checks: { one: waitsForTheOther, other: waitsForTheOther },
  });
  assert.equal((await get('/readyz')).status, 200);
});

test('/metrics is in the text format of Prometheus', async (t) => {
  const answer = await (await serve(t)).get('/metrics');
  assert.equal(answer.status, 200);
  assert.match(answer.headers.get('content-type') ?? '', /^text\/plain; version=0\.0\.4/);
  assert.match(answer.text, /^# TYPE smtp_connections gauge$/m);
});

test('what is not there, and what is not HTTP, gets a plain answer without framework or stack', async (t) => {
  const { get, port } = await serve(t);
  for (const [path, status] of [
    ['/nothing', 404],
    ['/%zz', 400],
    ['/../etc/passwd', 404],
  ] as const) {
    const answer = await get(path);
    assert.equal(answer.status, status, path);
    assert.deepEqual(Object.keys(answer.json()), ['error']);
    assert.doesNotMatch(answer.text, /fastify|FST_|node_modules|zz/i);
    assert.equal(answer.headers.get('x-content-type-options'), 'nosniff');
  }
  const posted = await get('/healthz', { method: 'POST', body: 'x'.repeat(200_000) });
  assert.ok(posted.status === 404 || posted.status === 413, String(posted.status));
  const socket = connect({ port, host: '127.0.0.1' });
  socket.end('MAIL FROM:<a@b>\r\n\r\n');
  let said = '';
  socket.setEncoding('utf8').on('data', (text: string) => {
    said += text;
  });
  await once(socket, 'close', { signal: AbortSignal.timeout(10_000) });
  assert.match(said, /^HTTP\/1\.1 400 Bad Request\r\n/);
  assert.doesNotMatch(said, /error|statusCode/);
});

test('a fault while answering is 500 without its text, which goes to the log', async (t) => {
  const broken = { ...createMetrics(), scrape: () => Promise.reject(new Error('hunter2')) };
  const { get, logged } = await serve(t, { metrics: broken });
  const answer = await get('/metrics');
  assert.equal(answer.status, 500);
  assert.deepEqual(answer.json(), { error: 'internal error' });
  assert.equal(logged.filter(({ level }) => level === 'error').length, 1);
});

test('every answer carries the security headers, and probes write no log line', async (t) => {
  const { get, logged } = await serve(t);
  for (const path of ['/healthz', '/readyz', '/metrics', '/nothing']) {
    const { headers } = await get(path);
    assert.equal(headers.get('x-content-type-options'), 'nosniff', path);
    assert.equal(headers.get('content-security-policy'), "default-src 'none'; frame-ancestors 'none'");
    assert.equal(headers.get('cache-control'), 'no-store');
    assert.equal(headers.get('x-powered-by'), null);
  }
  assert.deepEqual(logged, []);
});

test('a taken port is an error of one line that names HTTP_PORT', async (t) => {
  const { port } = await serve(t);
  const log = createLog({ level: 'silent', format: 'json' });
  const second = createHttpServer({ host: '127.0.0.1', port, log, metrics: createMetrics(), checks: fine });
  await assert.rejects(second.listen(), (error) => {
    assert.ok(error instanceof ListenError);
    assert.match(error.message, new RegExp(`^HTTP_PORT: 127\\.0\\.0\\.1:${port} is taken`));
    return !error.message.includes('\n');
  });
});

test('an address that is not of this machine is an error that names HTTP_HOST', async () => {
  const log = createLog({ level: 'silent', format: 'json' });
  const server = createHttpServer({ host: '203.0.113.1', port: 0, log, metrics: createMetrics(), checks: fine });
  await assert.rejects(server.listen(), (error) => error instanceof ListenError && /^HTTP_HOST: /.test(error.message));
});

test('close ends although an answer is still owed', async (t) => {
  const asked = Promise.withResolvers<void>();
  const answer = Promise.withResolvers<void>();
  const jobs = async () => {
    asked.resolve();
    await answer.promise;
  };
  const { server, get } = await serve(t, { checkDeadlineMs: 60_000, checks: { jobs } });
  const cut = assert.rejects(get('/readyz'));
  await asked.promise;
  await server.close();
  await cut;
  answer.resolve();
});
