/** Faults and the order of system calls, by the real thing: a full disk, and a kernel that says no (strace's injection). */
import assert from 'node:assert/strict';
import { execFile, spawnSync } from 'node:child_process';
import { mkdir, mkdtemp, readdir, readFile, rm, statfs } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import { promisify } from 'node:util';
import { isStoreError, keys, once, read } from '../../ports/object-store.contract.ts';
import { missing } from '../../testing/missing.ts';
import { INCOMING_NAME } from './incoming.ts';
import { createFileObjectStore } from './object-store.ts';

const CHILD_DEADLINE_MS = 60_000;
const CALLS =
  'openat,write,fdatasync,fsync,?rename,?renameat,?renameat2,?link,?linkat,?mkdir,?mkdirat,?unlink,?unlinkat';
const LINKS = '?link,?linkat';

/** Does the steps one after another and says after each how it ended. */
const CHILD = `
import { writeSync } from 'node:fs';
import { createFileObjectStore } from ${JSON.stringify(new URL('./object-store.ts', import.meta.url).href)};
const { rootDir, steps } = JSON.parse(process.argv[1]);
const store = await createFileObjectStore({ rootDir });
async function* mail(sizes) { for (const size of sizes) yield Buffer.alloc(size, 'x'); }
for (const [op, ...args] of steps) {
  const whole = () => Buffer.alloc(args[1].reduce((sum, size) => sum + size), 'x');
  const work =
    op === 'put' ? store.put(args[0], mail(args[1]))
    : op === 'putAtOnce' ? store.put(args[0], whole())
    : op === 'putFresh' ? store.put(args[0], whole(), { fresh: true })
    : store[op](...args);
  const outcome = await work.then(() => 'done', (error) => error.code ?? String(error));
  writeSync(1, op + ' ' + outcome + '\\n');
}
`;

/** A put with the sizes of its chunks, a copy, or a check. */
type Step =
  | readonly ['put' | 'putAtOnce' | 'putFresh', string, readonly number[]]
  | readonly ['copy', string, string]
  | readonly ['check'];

interface Call {
  readonly name: string;
  readonly text: string;
  /** Positions in the trace. */
  readonly begin: number;
  end: number;
}

describe('the file store and its system calls', { timeout: CHILD_DEADLINE_MS * 5 }, () => {
  it('a put: written, linked to its name, file and directory synced, and only then resolved', async (t) => {
    await withTracedRoot(t, async (rootDir) => {
      const { outcomes, calls } = await traced(rootDir, [['put', 'org/2026/11/a.eml', [100_000, 200_000, 300_000]]]);
      assert.deepEqual(outcomes, ['put done']);
      const incoming = join(rootDir, INCOMING_NAME);
      const written = calls.filter((call) => call.name === 'write' && call.text.includes(`<${incoming}/`));
      const sealed = only(calls, 'fdatasync', `<${incoming}/`); // The name it was opened under.
      const linked = only(calls, 'link', '/11/a.eml"');
      const resolved = only(calls, 'write', '"put done');
      assert.ok(written.length >= 2);
      for (const write of written) assert.ok(write.end < linked.begin, 'written before it has its name');
      assert.ok(linked.end < sealed.begin, 'synced with its name: one commit of the journal for both');
      assert.ok(sealed.end < resolved.begin, 'the bytes are durable before the promise resolves');
      const named = calls.filter((call) => call.name === 'fsync' && call.text.includes('/2026/11>'));
      assert.ok(
        named.some((sync) => linked.end < sync.begin && sync.end < resolved.begin),
        'the name is durable before the promise resolves',
      );
    });
  });

  it('a small mail: made under its own name, written and synced by one call, directory synced, and only then resolved', async (t) => {
    await withTracedRoot(t, async (rootDir) => {
      const { outcomes, calls } = await traced(rootDir, [['putFresh', 'org/2026/11/a.eml', [3_000, 7_000]]]);
      assert.deepEqual(outcomes, ['putFresh done']);
      assert.deepEqual(
        calls.filter(({ text }) => /\/11\/a\.eml[>"]/.test(text)).map(({ name }) => name),
        ['openat', 'write'],
      );
      const named = only(calls, 'openat', '/11/a.eml"');
      assert.match(named.text, /O_DSYNC/, 'a write returns when its bytes are on disk');
      const resolved = only(calls, 'write', '"putFresh done');
      assert.ok(only(calls, 'write', '/11/a.eml>').end < resolved.begin, 'the bytes are durable');
      const synced = calls.filter((call) => call.name === 'fsync' && call.text.includes('/2026/11>'));
      assert.ok(
        synced.some((sync) => named.end < sync.begin && sync.end < resolved.begin),
        'the name is durable before the promise resolves',
      );
    });
  });

  it('an empty mail is synced by itself, because no write does it', async (t) => {
    await withTracedRoot(t, async (rootDir) => {
      const { calls } = await traced(rootDir, [['putFresh', 'org/a.eml', [0]]]);
      const resolved = only(calls, 'write', '"putFresh done');
      assert.ok(only(calls, 'fdatasync', '/org/a.eml>').end < resolved.begin);
    });
  });

  it('a small mail that cannot be written or synced is refused and gone', async (t) => {
    // EIO is what a write with O_DSYNC answers when its bytes do not reach the disk.
    for (const fault of ['?write:error=ENOSPC', '?write:error=EIO', 'fsync:error=EIO']) {
      for (const put of ['putFresh', 'putAtOnce'] as const) {
        await withTracedRoot(t, async (rootDir) => {
          await mkdir(join(rootDir, 'org'));
          const [name = ''] = fault.split(':');
          const only = ['-P', join(rootDir, name === 'fsync' ? 'org' : 'org/a.eml')];
          const steps: Step[] = [
            [put, 'org/a.eml', [10]],
            [put, 'other/a.eml', [10]],
          ];
          const { outcomes } = await traced(rootDir, steps, [...only, '-e', `inject=${fault}`]);
          const refused = fault.includes('ENOSPC') ? 'storage-full' : 'store-unavailable';
          assert.deepEqual(outcomes, [`${put} ${refused}`, `${put} done`], fault);
          assert.deepEqual(await keys(await createFileObjectStore({ rootDir }), ''), ['other/a.eml'], fault);
        });
      }
    }
  });

  it('where the name is taken, what comes at once is written beside and synced before it replaces', async (t) => {
    await withTracedRoot(t, async (rootDir) => {
      const steps: Step[] = [
        ['putAtOnce', 'org/a.eml', [10]],
        ['putAtOnce', 'org/a.eml', [20]],
        ['putFresh', 'org/a.eml', [30]],
      ];
      const { outcomes, calls } = await traced(rootDir, steps);
      assert.deepEqual(outcomes, ['putAtOnce done', 'putAtOnce done', 'putFresh store-unavailable']);
      const sealed = only(calls, 'fdatasync', INCOMING_NAME);
      assert.ok(sealed.end < only(calls, 'rename', '/org/a.eml"').begin);
      assert.equal((await read(await createFileObjectStore({ rootDir }), 'org/a.eml')).length, 20);
    });
  });

  it('every directory a put makes is durable before it resolves', async (t) => {
    await withTracedRoot(t, async (rootDir) => {
      const { calls } = await traced(rootDir, [['put', 'org/2026/11/a.eml', [10]]]);
      const resolved = only(calls, 'write', '"put done');
      for (const [made, above] of [
        ['/org', ''],
        ['/org/2026', '/org'],
        ['/org/2026/11', '/org/2026'],
      ] as const) {
        const mkdirCall = only(calls, 'mkdir', `"${rootDir}${made}"`);
        const synced = calls.filter((call) => call.name === 'fsync' && call.text.includes(`<${rootDir}${above}>`));
        assert.ok(
          synced.some((sync) => mkdirCall.end < sync.begin && sync.end < resolved.begin),
          `${made} is synced`,
        );
      }
    });
  });

  it('a mail in many small chunks is one open, one write, one link, one sync', async (t) => {
    await withTracedRoot(t, async (rootDir) => {
      const { calls } = await traced(rootDir, [['put', 'org/a.eml', Array.from({ length: 200 }, () => 1000)]]);
      const ofFile = calls.filter(({ text }) => text.includes(`/${INCOMING_NAME}/`) || text.includes('/org/a.eml>'));
      assert.deepEqual(
        ofFile.map((call) => call.name),
        ['openat', 'write', 'link', 'unlink', 'fdatasync'],
      );
    });
  });

  it('a copy is a link, named durably before it resolves', async (t) => {
    await withTracedRoot(t, async (rootDir) => {
      const { outcomes, calls } = await traced(rootDir, [
        ['put', 'a/1.eml', [10]],
        ['copy', 'a/1.eml', 'b/2.eml'],
      ]);
      assert.deepEqual(outcomes, ['put done', 'copy done']);
      const linked = calls.filter((call) => call.name === 'link' && call.text.includes('/a/1.eml"')).at(-1);
      const renamed = only(calls, 'link', '/b/2.eml"');
      const resolved = only(calls, 'write', '"copy done');
      const named = calls.filter((call) => call.name === 'fsync' && call.text.includes(`<${rootDir}/b>`));
      assert.ok(linked !== undefined && linked.end < renamed.begin);
      assert.ok(named.some((sync) => renamed.end < sync.begin && sync.end < resolved.begin));
    });
  });

  it('where links cannot be made, a copy is real, and synced before it has its name', async (t) => {
    await withTracedRoot(t, async (rootDir) => {
      const steps: Step[] = [
        ['put', 'a/1.eml', [5000]],
        ['copy', 'a/1.eml', 'b/2.eml'],
      ];
      const { outcomes, calls } = await traced(rootDir, steps, ['-e', 'inject=?link,?linkat:error=EXDEV']);
      assert.deepEqual(outcomes, ['put done', 'copy done']);
      const renamed = only(calls, 'rename', '/b/2.eml"');
      const syncs = calls.filter((call) => call.name === 'fdatasync' && call.end < renamed.begin);
      assert.equal(syncs.length, 2, 'of the object and of its copy');
      const store = await createFileObjectStore({ rootDir });
      assert.deepEqual(await read(store, 'b/2.eml'), await read(store, 'a/1.eml'));
    });
  });

  it('a file whose sync failed is refused and gone; the next one is new and good', async (t) => {
    await withTracedRoot(t, async (rootDir) => {
      const steps: Step[] = [['put', 'org/a.eml', [300_000]], ['check'], ['put', 'org/a.eml', [400_000]]];
      const { outcomes } = await traced(rootDir, steps, ['-e', 'inject=fdatasync:error=EIO:when=1..2']);
      assert.deepEqual(outcomes, ['put store-unavailable', 'check store-unavailable', 'put done']);
      const store = await createFileObjectStore({ rootDir });
      assert.equal((await read(store, 'org/a.eml')).length, 400_000);
    });
  });

  it('an object is not replaced by one that cannot be synced', async (t) => {
    await withTracedRoot(t, async (rootDir) => {
      const steps: Step[] = [
        ['put', 'org/a.eml', [300_000]],
        ['put', 'org/a.eml', [400_000]],
        ['putAtOnce', 'org/a.eml', [400_000]],
      ];
      const { outcomes, calls } = await traced(rootDir, steps, ['-e', 'inject=fdatasync:error=EIO:when=2..3']);
      assert.deepEqual(outcomes, ['put done', 'put store-unavailable', 'putAtOnce store-unavailable']);
      assert.equal(calls.filter((call) => call.name === 'rename').length, 0);
      const store = await createFileObjectStore({ rootDir });
      assert.equal((await read(store, 'org/a.eml')).length, 300_000);
    });
  });

  it('an object whose directory could not be synced is refused and gone', async (t) => {
    await withTracedRoot(t, async (rootDir) => {
      await mkdir(join(rootDir, 'org'));
      const steps: Step[] = [
        ['put', 'org/a.eml', [10]],
        ['put', 'other/a.eml', [10]],
        ['copy', 'other/a.eml', 'org/b.eml'],
      ];
      const { outcomes } = await traced(rootDir, steps, ['-P', join(rootDir, 'org'), '-e', 'inject=fsync:error=EIO']);
      assert.deepEqual(outcomes, ['put store-unavailable', 'put done', 'copy store-unavailable']);
      assert.deepEqual(await keys(await createFileObjectStore({ rootDir }), ''), ['other/a.eml']);
    });
  });

  it('a quota used up at the last step is "full", and leaves nothing', async (t) => {
    await withTracedRoot(t, async (rootDir) => {
      const { outcomes } = await traced(rootDir, [['put', 'org/a.eml', [10]]], ['-e', `inject=${LINKS}:error=EDQUOT`]);
      assert.deepEqual(outcomes, ['put storage-full']);
      assert.deepEqual(await keys(await createFileObjectStore({ rootDir }), ''), []);
    });
  });
});

describe('the file store on a full disk', { timeout: 60_000 }, () => {
  it('refuses what does not fit as "full", gives the room back, and takes what fits', async (t) => {
    await withSmallDisk(t, 1, async (rootDir) => {
      const store = await createFileObjectStore({ rootDir });
      await store.put('org/first.eml', once(Buffer.alloc(10_000)));
      const freeBefore = (await statfs(rootDir)).bfree;
      await assert.rejects(store.put('org/large.eml', large(2_000_000)), isStoreError('storage-full'));
      assert.equal((await statfs(rootDir)).bfree, freeBefore);
      assert.deepEqual(await keys(store, ''), ['org/first.eml']);
      await store.put('org/fits.eml', large(freeBefore * 4096));
      await assert.rejects(store.put('org/small.eml', once('x')), isStoreError('storage-full'));
      await assert.rejects(store.check(), isStoreError('storage-full'));
      await store.remove('org/fits.eml');
      await store.put('org/small.eml', once('x'));
      await store.check();
      assert.deepEqual(await keys(store, ''), ['org/first.eml', 'org/small.eml']);
      assert.deepEqual(await readdir(join(rootDir, INCOMING_NAME)), []);
    });
  });
});

async function* large(sizeBytes: number): AsyncGenerator<Uint8Array> {
  for (let left = sizeBytes; left > 0; left -= 100_000) yield Buffer.alloc(Math.min(left, 100_000), 'x');
}

/** Runs the steps in a process under strace. One thread for files: strace counts `when` for each thread apart. */
async function traced(rootDir: string, steps: readonly Step[], faults: readonly string[] = []) {
  const traceFile = `${rootDir}.trace`;
  const job = JSON.stringify({ rootDir, steps });
  const child = [process.execPath, '--input-type=module', '--eval', CHILD, job];
  const { stdout } = await promisify(execFile)(
    'strace',
    ['-f', '-y', '-s', '16', '-e', `trace=${CALLS}`, ...faults, '-o', traceFile, ...child],
    { env: { ...process.env, UV_THREADPOOL_SIZE: '1', UV_USE_IO_URING: '0' }, timeout: CHILD_DEADLINE_MS },
  );
  const calls = parseTrace(await readFile(traceFile, 'utf8'));
  await rm(traceFile);
  return { outcomes: stdout.trim().split('\n'), calls };
}

/** A call that another thread interrupts in the trace is two lines: its beginning, and `<... name resumed>`. */
function parseTrace(trace: string): readonly Call[] {
  const calls: Call[] = [];
  const open = new Map<string, Call>();
  for (const [at, line] of trace.split('\n').entries()) {
    const [, thread = '', text = ''] = /^(\d+) +(.*)$/.exec(line) ?? [];
    if (text.startsWith('<... ')) {
      const call = open.get(thread);
      if (call !== undefined) call.end = at;
      continue;
    }
    const name = /^(\w+)\(/.exec(text)?.[1];
    if (name === undefined) continue;
    const plain = name.replace(/(at|at2)$/, (end) => (name === 'openat' ? end : ''));
    const call = { name: plain, text, begin: at, end: at };
    if (text.endsWith('<unfinished ...>')) call.end = Number.POSITIVE_INFINITY;
    calls.push(call);
    open.set(thread, call);
  }
  return calls;
}

function only(calls: readonly Call[], name: string, part: string): Call {
  const found = calls.filter((call) => call.name === name && call.text.includes(part));
  assert.equal(found.length, 1, `one ${name} of ${part}, not ${found.length}`);
  return found[0] as Call;
}

async function withTracedRoot(t: TestContext, work: (rootDir: string) => Promise<void>): Promise<void> {
  const tried = spawnSync('strace', ['-o', '/dev/null', 'true'], { timeout: CHILD_DEADLINE_MS });
  if (tried.status !== 0) {
    return missing(t, 'strace', tried.error?.message ?? tried.stderr.toString().trim());
  }
  await withFolder(async (folder) => {
    const rootDir = join(folder, 'objects');
    await mkdir(rootDir);
    await work(rootDir);
    assert.deepEqual(await readdir(join(rootDir, INCOMING_NAME)), [], 'nothing is left behind');
  });
}

async function withSmallDisk(t: TestContext, sizeMiB: number, work: (rootDir: string) => Promise<void>): Promise<void> {
  await withFolder(async (folder) => {
    const mounted = spawnSync('mount', ['-t', 'tmpfs', '-o', `size=${sizeMiB}m,mode=700`, 'none', folder]);
    if (mounted.status !== 0) {
      return missing(t, 'mount', `no small disk here: ${mounted.error?.message ?? mounted.stderr.toString().trim()}`);
    }
    try {
      await work(folder);
    } finally {
      spawnSync('umount', ['-l', folder]);
    }
  });
}

async function withFolder(work: (folder: string) => Promise<void>): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'objects-'));
  try {
    await work(folder);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
