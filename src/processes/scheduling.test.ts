import assert from 'node:assert/strict';
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { type TestContext, test } from 'node:test';
import { cleanUp } from '../testing/clean-up.ts';
import { missing } from '../testing/missing.ts';
import { startProduct } from '../testing/product.ts';
import { temporaryFolder } from '../testing/temporary-folder.ts';
import { scheduleAsBatch } from './scheduling.ts';

function whyNoChrt(): string | null {
  if (process.platform !== 'linux') return 'only Linux has it';
  return spawnSync('chrt', ['--version']).status === 0 ? null : 'apt install util-linux';
}

/** Shape: the policy of each thread, as Linux numbers them (3 is SCHED_BATCH, 5 is SCHED_IDLE). */
function policiesOf(pid: number): number[] {
  return readdirSync(`/proc/${pid}/task`).map((thread) => {
    const stat = readFileSync(`/proc/${pid}/task/${thread}/stat`, 'latin1');
    return Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[38]);
  });
}

/** A Node with a thread pool; on a line of input it starts a process of its own and says its id. */
async function startIdle(t: TestContext, policy: '--other' | '--idle'): Promise<ChildProcess & { pid: number }> {
  const source = `
    require('node:fs').stat('/', () => console.log('ready'));
    process.stdin.on('data', () => {
      const child = require('node:child_process').spawn('sleep', ['60'], { stdio: 'ignore' });
      process.on('SIGTERM', () => { child.kill(); process.exit(); });
      console.log(child.pid);
    });`;
  const child = spawn('chrt', [policy, '0', process.execPath, '-e', source], { stdio: ['pipe', 'pipe', 'inherit'] });
  cleanUp(t, async () => {
    const exit = once(child, 'exit');
    if (child.exitCode === null && child.kill()) await exit;
  });
  await once(child.stdout, 'data');
  return child as ChildProcess & { pid: number };
}

test('all threads of a process, and what it starts afterwards, are scheduled as a batch', async (t) => {
  const why = whyNoChrt();
  if (why !== null) return missing(t, 'chrt', why);
  const child = await startIdle(t, '--other');
  assert.ok(policiesOf(child.pid).length > 4);
  assert.equal(await scheduleAsBatch(child.pid), true);
  assert.deepEqual(new Set(policiesOf(child.pid)), new Set([3]));
  child.stdin?.write('go\n');
  const [said] = await once(child.stdout as NodeJS.ReadableStream, 'data');
  assert.deepEqual(policiesOf(Number(String(said))), [3]);
});

test('a policy that somebody has chosen stays', async (t) => {
  const why = whyNoChrt();
  if (why !== null) return missing(t, 'chrt', why);
  const child = await startIdle(t, '--idle');
  assert.equal(await scheduleAsBatch(child.pid), false);
  assert.deepEqual(new Set(policiesOf(child.pid)), new Set([5]));
});

test('the server that runs is a batch, with the PostgreSQL it has started', async (t) => {
  const why = whyNoChrt();
  if (why !== null) return missing(t, 'chrt', why);
  const [ours = 0] = policiesOf(process.pid);
  const { pid } = await startProduct(t, { dataDir: await temporaryFolder(t) });
  const started = readFileSync(`/proc/${pid}/task/${pid}/children`, 'latin1').trim().split(' ').map(Number);
  assert.ok(started.length > 0);
  // What was started under another policy than the ordinary one keeps it.
  const expected = ours === 0 ? 3 : ours;
  for (const one of [pid, ...started]) assert.deepEqual(new Set(policiesOf(one)), new Set([expected]));
});

test('without chrt, and for a process that is gone, nothing happens', async (t) => {
  const { PATH } = process.env;
  t.after(() => {
    process.env.PATH = PATH;
  });
  assert.equal(await scheduleAsBatch(2 ** 22 + 1), false);
  process.env.PATH = '/nonexistent';
  assert.equal(await scheduleAsBatch(), false);
});
