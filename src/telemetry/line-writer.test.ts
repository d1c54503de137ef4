import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, constants, existsSync, openSync, readFileSync, readSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { setImmediate as endOfTurn, setTimeout as sleep } from 'node:timers/promises';
import { cleanUp } from '../testing/clean-up.ts';
import { missing } from '../testing/missing.ts';
import { temporaryFolder } from '../testing/temporary-folder.ts';
import { waitFor } from '../testing/wait-for.ts';
import { CHUNK_BYTES } from './kept-lines.ts';
import { createLineWriter, type LineWriter } from './line-writer.ts';

/** A writer that tells of what was lost as the log does: by a line of its own. */
function writerTo(t: TestContext, fd: number, maxKeptBytes?: number): LineWriter {
  cleanUp(t, () => closeSync(fd));
  const writer: LineWriter = createLineWriter({
    fd,
    resumed: ({ lines, code }) => writer.write(`lost ${lines} ${code}\n`),
    ...(maxKeptBytes === undefined ? {} : { maxKeptBytes }),
  });
  return writer;
}

/** A named pipe with a reader that can leave and come back. */
async function pipe(t: TestContext) {
  const path = join(await temporaryFolder(t), 'pipe');
  const made = spawnSync('mkfifo', [path]);
  if (made.status !== 0) return null;
  const openReader = () => openSync(path, constants.O_RDWR | constants.O_NONBLOCK);
  let reader: number | null = openReader();
  const leave = () => {
    if (reader !== null) closeSync(reader);
    reader = null;
  };
  cleanUp(t, leave);
  return {
    /** As a shell opens it: a write to a full pipe waits. */
    fd: openSync(path, constants.O_WRONLY),
    leave,
    comeBack: () => {
      reader = openReader();
    },
    /** All there is now. */
    read(): string {
      const buffer = Buffer.alloc(65_536);
      let text = '';
      for (;;) {
        try {
          text += buffer.toString('utf8', 0, readSync(reader ?? -1, buffer));
        } catch (error) {
          if ((error as NodeJS.ErrnoException).code === 'EAGAIN') return text;
          throw error;
        }
      }
    },
  };
}

test('lines nobody reads any more are dropped, and told of once when somebody reads again', async (t) => {
  const reader = await pipe(t);
  if (reader === null) return missing(t, 'mkfifo', 'coreutils');
  const writer = writerTo(t, reader.fd);
  const writeNow = async (line: string): Promise<void> => {
    writer.write(line);
    await endOfTurn();
  };
  await writeNow('one\n');
  assert.equal(reader.read(), 'one\n');
  reader.leave();
  for (let i = 0; i < 5; i += 1) await writeNow(`gone ${i}\n`);
  reader.comeBack();
  await writeNow('two\n');
  await writeNow('three\n');
  assert.equal(reader.read(), 'two\nlost 5 EPIPE\nthree\n');
});

test('the lines of a turn go out at its end, and at once where they fill a chunk', async (t) => {
  const reader = await pipe(t);
  if (reader === null) return missing(t, 'mkfifo', 'coreutils');
  const writer = writerTo(t, reader.fd);
  writer.write('one\n');
  writer.write('two\n');
  assert.equal(reader.read(), '');
  await endOfTurn();
  assert.equal(reader.read(), 'one\ntwo\n');
  const long = `${'x'.repeat(CHUNK_BYTES - 1)}\n`;
  writer.write(long);
  assert.equal(reader.read(), long);
});

test('a report that cannot be written is not the last word: what it told of is told again', async (t) => {
  const reader = await pipe(t);
  if (reader === null) return missing(t, 'mkfifo', 'coreutils');
  const writer: LineWriter = createLineWriter({
    fd: reader.fd,
    resumed: ({ lines, code }) => {
      if (lines === 2) reader.leave();
      writer.write(`lost ${lines} ${code}\n`);
    },
  });
  const writeNow = async (line: string): Promise<void> => {
    writer.write(line);
    await endOfTurn();
  };
  reader.leave();
  await writeNow('gone\n');
  await writeNow('gone\n');
  reader.comeBack();
  await writeNow('back\n');
  await writeNow('gone\n');
  reader.comeBack();
  await writeNow('back again\n');
  assert.equal(reader.read(), 'back\nback again\nlost 3 EPIPE\n');
});

test('a slow reader gets every line whole and in order', async (t) => {
  const reader = await pipe(t);
  if (reader === null) return missing(t, 'mkfifo', 'coreutils');
  const writer = writerTo(t, reader.fd);
  // Longer than PIPE_BUF, so that a line may go out in part; more than the pipe holds.
  const line = (i: number) => `${i} ${'x'.repeat(6_000)}\n`;
  let expected = '';
  for (let i = 0; i < 40; i += 1) {
    writer.write(line(i));
    expected += line(i);
  }
  let text = '';
  await waitFor(
    () => {
      text += reader.read();
      return text.length >= expected.length;
    },
    { what: 'every line' },
  );
  assert.ok(text === expected, 'all lines, in order');
});

test('a reader that stands still costs a bounded backlog; what did not fit is counted, in one line', async (t) => {
  const reader = await pipe(t);
  if (reader === null) return missing(t, 'mkfifo', 'coreutils');
  const writer = writerTo(t, reader.fd, 20_000);
  const total = 200;
  for (let i = 0; i < total; i += 1) writer.write(`${i} ${'x'.repeat(995)}\n`);
  let text = '';
  await waitFor(
    () => {
      text += reader.read();
      return text.includes('lost');
    },
    { what: 'the report' },
  );
  await sleep(100);
  writer.write('after\n');
  await endOfTurn();
  text += reader.read();
  const lost = Number(/^lost (\d+) EAGAIN$/m.exec(text)?.[1]);
  const arrived = text.match(/^\d+ x+$/gm)?.length ?? 0;
  assert.ok(lost > 0);
  assert.equal(arrived + lost, total);
  assert.equal(text.match(/^lost/gm)?.length, 1);
  assert.match(text, /after\n$/);
});

test('a reader that reads less than is logged is told of what was dropped once for each half of what is kept', async (t) => {
  const reader = await pipe(t);
  if (reader === null) return missing(t, 'mkfifo', 'coreutils');
  const writer = writerTo(t, reader.fd, 200_000);
  let text = '';
  let total = 0;
  for (let round = 0; round < 20; round += 1) {
    for (let i = 0; i < 200; i += 1) writer.write(`${total++} ${'x'.repeat(995)}\n`);
    await sleep(30); // Longer than the writer waits before it tries again.
    text += reader.read();
  }
  await waitFor(
    () => {
      text += reader.read();
      const lost = [...text.matchAll(/^lost (\d+) EAGAIN$/gm)].reduce((sum, [, lines]) => sum + Number(lines), 0);
      return lost + (text.match(/^\d+ x+$/gm)?.length ?? 0) === total;
    },
    { what: 'every line, or its count' },
  );
  const reports = text.match(/^lost/gm)?.length ?? 0;
  assert.ok(reports >= 1 && reports <= 1 + text.length / 100_000, `${reports} reports in ${text.length} bytes`);
  for (const line of text.trimEnd().split('\n')) assert.match(line, /^(\d+ x{995}|lost \d+ EAGAIN)$/);
});

test('on a full disk lines are dropped; with room again one line says how many, and no line is glued to a torn one', async (t) => {
  const folder = await temporaryFolder(t);
  if (spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=64k', 'tmpfs', folder]).status !== 0) {
    return missing(t, 'a small tmpfs', 'mounting one needs root');
  }
  cleanUp(t, () => void spawnSync('umount', ['-l', folder]));
  writeFileSync(join(folder, 'filler'), Buffer.alloc(40_960));
  const path = join(folder, 'log');
  const writer = writerTo(t, openSync(path, 'a'));
  const total = 300;
  for (let i = 0; i < total; i += 1) writer.write(`${i} ${'x'.repeat(100)}\n`);
  await endOfTurn();
  rmSync(join(folder, 'filler'));
  writer.write('after\n');
  await endOfTurn();
  const lines = readFileSync(path, 'utf8').split('\n');
  const whole = lines.filter((line) => /^\d+ x{100}$/.test(line)).length;
  assert.deepEqual(lines.slice(-3), ['after', `lost ${total - whole} ENOSPC`, '']);
  assert.ok(whole > 0 && whole < total, `${whole} fitted`);
});

const module = JSON.stringify(new URL('./log.ts', import.meta.url).href);
const script = (body: string) => `
  const { createLog } = await import(${module});
  const log = createLog({ format: process.argv[1] ?? 'json', level: 'info' });
  ${body}`;

for (const format of ['json', 'pretty'] as const) {
  test(`a full disk under the ${format} log ends nothing and throws nothing`, (t) => {
    if (!existsSync('/dev/full')) return missing(t, '/dev/full', 'a device of Linux');
    const full = openSync('/dev/full', 'w');
    cleanUp(t, () => closeSync(full));
    const body = `for (let i = 0; i < 10; i += 1) log.info({ i }, 'line');
      setTimeout(() => { log.error(new Error('late')); console.error('alive'); }, 50);`;
    const ended = spawnSync(process.execPath, ['--input-type=module', '-e', script(body), format], {
      stdio: ['ignore', full, 'pipe'],
      encoding: 'utf8',
    });
    assert.equal(ended.stderr, 'alive\n');
    assert.equal(ended.status, 0);
  });
}

test('a reader of standard output that leaves ends nothing and throws nothing', async () => {
  const body = `process.stdout; // Makes a pipe non-blocking, as the command line does.
    console.error('ready');
    await new Promise((resolve) => process.stdin.once('data', resolve));
    for (let i = 0; i < 10; i += 1) log.info({ i }, 'line');
    console.error('alive');
    process.exit(0);`;
  const child = spawn(process.execPath, ['--input-type=module', '-e', script(body)], { timeout: 30_000 });
  let said = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    if (said === '') {
      child.stdout.destroy();
      child.stdout.once('close', () => child.stdin.write('go\n'));
    }
    said += text;
  });
  const [code] = await once(child, 'close');
  assert.equal(said, 'ready\nalive\n');
  assert.equal(code, 0);
});

test('what waits for a slow reader is written before an orderly end', async () => {
  const body = `for (let i = 0; i < 5000; i += 1) log.info({ i }, 'x'.repeat(100));
    console.error('all logged');
    process.exit(0);`;
  const child = spawn(process.execPath, ['--input-type=module', '-e', script(body)], { timeout: 30_000 });
  await once(child.stderr, 'data', { signal: AbortSignal.timeout(30_000) });
  let text = '';
  child.stdout.setEncoding('utf8').on('data', (chunk: string) => {
    text += chunk;
  });
  await once(child, 'close');
  const lines = text.trimEnd().split('\n');
  assert.equal(lines.length, 5000);
  assert.equal(JSON.parse(lines.at(-1) ?? '').i, 4999);
});

type ReadEnd = NonNullable<Awaited<ReturnType<typeof pipe>>>;

/** A process that logs, and whose standard output nobody reads until `read` is called: a pipe, else a socket. */
function unread(t: TestContext, body: string, reader?: ReadEnd) {
  const child = spawn(process.execPath, ['--input-type=module', '-e', script(body)], {
    stdio: ['pipe', reader?.fd ?? 'pipe', 'pipe'],
    timeout: 30_000,
  });
  cleanUp(t, () => void child.kill('SIGKILL'));
  const { stdin, stdout, stderr } = child;
  assert.ok(stdin !== null && stderr !== null);
  let ended = false;
  child.once('close', () => {
    ended = true;
  });
  return {
    child,
    go: () => stdin.write('go\n'),
    said: async (): Promise<string> =>
      String((await once(stderr.setEncoding('utf8'), 'data', { signal: AbortSignal.timeout(30_000) }))[0]),
    /** To its end. */
    async read(): Promise<string> {
      let text = '';
      stdout?.setEncoding('utf8').on('data', (chunk: string) => {
        text += chunk;
      });
      await waitFor(
        () => {
          text += reader?.read() ?? '';
          return ended;
        },
        { timeoutMs: 30_000, what: 'the end of the process' },
      );
      return text + (reader?.read() ?? '');
    },
  };
}

const linesOf = (text: string): readonly Record<string, unknown>[] =>
  text
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line));

for (const what of ['pipe', 'socket'] as const) {
  test(`a ${what} that nobody reads makes nobody wait: 1 MiB is kept, the rest is counted in one line`, async (t) => {
    const reader = what === 'pipe' ? await pipe(t) : undefined;
    if (reader === null) return missing(t, 'mkfifo', 'coreutils');
    const body = `const wait = Atomics.wait;
      let waits = 0;
      Atomics.wait = (...all) => { waits += 1; return wait(...all); };
      for (let i = 0; i < 5000; i += 1) log.info({ i }, 'x'.repeat(1000));
      console.error('waited ' + waits + ' times');
      process.stdin.once('data', () => setTimeout(() => process.exit(0), 500));`;
    const program = unread(t, body, reader);
    assert.equal(await program.said(), 'waited 0 times\n');
    program.go();
    const lines = linesOf(await program.read());
    const arrived = lines.filter(({ i }) => i !== undefined);
    assert.deepEqual(
      arrived.map(({ i }) => i),
      arrived.map((_, index) => index),
    );
    assert.deepEqual(
      lines.slice(arrived.length).map(({ level, lost_lines, code }) => [level, lost_lines, code]),
      [['warn', 5000 - arrived.length, 'EAGAIN']],
    );
    const bytes = arrived.reduce((sum, line) => sum + JSON.stringify(line).length + 1, 0);
    // What is kept, and what the kernel and this test's own stream have taken.
    assert.ok(bytes > 1000 * 1024 && bytes < 1500 * 1024, String(bytes));
  });
}

test('a process whose reader stands still ends all the same', async (t) => {
  const body = `for (let i = 0; i < 5000; i += 1) log.info({ i }, 'x'.repeat(1000));
    process.exit(7);`;
  const { child } = unread(t, body);
  const [code] = await once(child, 'exit', { signal: AbortSignal.timeout(20_000) });
  assert.equal(code, 7);
});

test('lines of several processes on one pipe that nobody reads stay whole', async (t) => {
  const reader = await pipe(t);
  if (reader === null) return missing(t, 'mkfifo', 'coreutils');
  cleanUp(t, () => closeSync(reader.fd));
  const body = `for (let i = 0; i < 200; i += 1) log.info({ i }, String(i % 10).repeat(1 + (i * 37) % 3900));
    console.error('all logged');
    process.stdin.resume();`;
  const programs = [1, 2, 3].map(() => unread(t, body, reader));
  for (const { said } of programs) await said();
  let text = '';
  await waitFor(
    () => {
      text += reader.read();
      return text.split('\n').length > 3 * 200;
    },
    { timeoutMs: 60_000, what: 'every line' },
  );
  assert.equal(linesOf(text).length, 3 * 200);
});

test('the report of lost lines is a line of the log, also where warnings are not written', async (t) => {
  const reader = await pipe(t);
  if (reader === null) return missing(t, 'mkfifo', 'coreutils');
  const body = `const log = createLog({ format: 'json', level: 'fatal' });
    const go = () => new Promise((resolve) => process.stdin.once('data', resolve));
    console.error('ready');
    await go();
    for (let i = 0; i < 3; i += 1) log.fatal('lost');
    await new Promise(setImmediate);
    console.error('ready');
    await go();
    log.fatal('back');
    process.exit(0);`;
  const imports = `const { createLog } = await import(${module});`;
  const child = spawn(process.execPath, ['--input-type=module', '-e', imports + body], {
    stdio: ['pipe', reader.fd, 'pipe'],
    timeout: 30_000,
  });
  const { stdin, stderr } = child;
  assert.ok(stdin !== null && stderr !== null);
  cleanUp(t, () => closeSync(reader.fd));
  const ended = once(child, 'close');
  for (const change of [reader.leave, reader.comeBack]) {
    await once(stderr, 'data', { signal: AbortSignal.timeout(30_000) });
    change();
    stdin.write('go\n');
  }
  await ended;
  const [back, report, ...more] = reader
    .read()
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line));
  assert.equal(back.msg, 'back');
  assert.deepEqual([report.level, report.lost_lines, report.code], ['fatal', 3, 'EPIPE']);
  assert.deepEqual(more, []);
});
