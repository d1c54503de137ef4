import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { type AddressInfo, createServer } from 'node:net';
import { test } from 'node:test';
import { listenersOn, nameOf, processTree } from './proc.ts';
import { memoryOf, watchProcesses, writtenBytes } from './usage.ts';

const noProc = existsSync('/proc/self/stat') ? false : 'this system has no /proc';

test('processes are named by what they do', () => {
  assert.equal(nameOf(['/opt/bin/node', '--cpu-prof', '/srv/bin/orderflow-ingest.cjs', 'start']), 'orderflow-ingest');
  assert.equal(nameOf(['/opt/bin/postgres', '-D', '/data']), 'postgres postmaster');
  assert.equal(nameOf(['postgres: checkpointer ']), 'postgres checkpointer');
  assert.equal(nameOf(['postgres: orderflow orderflow 127.0.0.1(53412) COMMIT']), 'postgres backend');
  assert.equal(nameOf(['smtpd', '-n', '2604']), 'smtpd');
  assert.equal(nameOf(['']), 'unknown');
});

test('pages that several processes share are counted once', () => {
  const facts = { pid: 1, parentPid: 0, cpuMs: 0, endedChildrenCpuMs: 0, peakResidentBytes: 0, written: null };
  const one = { ...facts, anonymousBytes: 10, fileBytes: 5, sharedBytes: 100 };
  assert.equal(memoryOf([one, { ...one, sharedBytes: 70 }]), 10 + 10 + 5 + 100);
  assert.equal(memoryOf([]), 0);
});

test('bytes written are the smaller of the two counts, and unknown where nobody may look', () => {
  const facts = { pid: 1, parentPid: 0, cpuMs: 0, endedChildrenCpuMs: 0, peakResidentBytes: 0 };
  const memory = { anonymousBytes: 0, fileBytes: 0, sharedBytes: 0 };
  const at = (dirtied: number, byCalls: number) => ({ ...facts, ...memory, written: { dirtied, byCalls } });
  assert.equal(writtenBytes([at(900, 70), at(900, 40)], [at(100, 50)]), 60);
  assert.equal(writtenBytes([at(30, 7_000)], [at(10, 1_000)]), 20);
  assert.equal(writtenBytes([{ ...facts, ...memory, written: null }], []), null);
});

test('CPU, memory and children of a process are seen while it runs', { skip: noProc }, async (t) => {
  const work = `
    const child = require('child_process').spawn(process.execPath, ['-e', 'setTimeout(() => {}, 60000)']);
    process.on('SIGTERM', () => { child.kill(); process.exit(); });
    process.stdin.once('data', () => {
      const until = Date.now() + 400; const kept = Buffer.alloc(64e6, 1);
      while (Date.now() < until); process.stdout.write(String(kept.length));
    });
    process.stdout.write('ready');`;
  const child = spawn(process.execPath, ['-e', work], { stdio: ['pipe', 'pipe', 'inherit'] });
  t.after(async () => {
    child.kill();
    await once(child, 'exit');
  });
  await once(child.stdout, 'data');
  const watch = watchProcesses([child.pid ?? 0]);
  child.stdin.write('go');
  await once(child.stdout, 'data');
  assert.equal(processTree([child.pid ?? 0]).length, 2);
  const usage = watch.stop();
  assert.ok(usage !== null && usage.cpuMs > 0);
  assert.ok(usage.memory.program.peakBytes - usage.memory.program.beforeBytes > 60e6);
  assert.equal(usage.memory.postgres.peakBytes, 0);
});

test('the process behind a port is found', { skip: noProc }, async (t) => {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => server.close());
  assert.deepEqual(listenersOn((server.address() as AddressInfo).port), [process.pid]);
  assert.deepEqual(listenersOn(1), []);
});

test('nothing is said of processes that are not there', () => {
  assert.equal(watchProcesses([999_999_999]).stop(), null);
});
