/** strace on running processes: what they ask of the kernel, in order, and what the kernel is made to answer. Linux only. */
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { cleanUp } from '../../src/testing/clean-up.ts';
import { missing } from '../../src/testing/missing.ts';
import { temporaryFolder } from '../../src/testing/temporary-folder.ts';
import { waitFor } from '../../src/testing/wait-for.ts';

export interface TraceOptions {
  readonly pids: readonly number[];
  /** As after `-e trace=`. */
  readonly calls: string;
  /** As after `-e inject=`. */
  readonly inject?: string;
}

export interface Tracing {
  /** Lets go of the processes, which go on undisturbed, and resolves with the trace. */
  detach(): Promise<readonly Call[]>;
}

export interface Call {
  readonly pid: number;
  readonly name: string;
  /** Arguments and result, as strace writes them. */
  readonly text: string;
  /** Units: seconds since 1970, as strace saw them. */
  readonly beginAt: number;
  /** Line numbers: strace writes a line before it lets the process go on, so their order is the order of cause. */
  readonly begin: number;
  end: number;
}

/** false, and the test is skipped, where strace cannot be used. */
export function canTrace(t: TestContext): boolean {
  const tried = spawnSync('strace', ['-f', '-o', '/dev/null', 'true'], { timeout: 30_000 });
  if (tried.status === 0) return true;
  missing(t, 'strace', tried.error?.message ?? tried.stderr.toString().trim());
  return false;
}

/** Resolves when all of the processes, and all of their threads, are under trace. */
export async function trace(t: TestContext, { pids, calls, inject }: TraceOptions): Promise<Tracing> {
  const file = join(await temporaryFolder(t), 'trace');
  const faults = inject === undefined ? [] : ['-e', `inject=${inject}`];
  const attach = pids.flatMap((pid) => ['-p', String(pid)]);
  const args = [
    '-f',
    '-ttt',
    '-y',
    '-s',
    '100000',
    '-e',
    `trace=${calls}`,
    '-e',
    'signal=none',
    ...faults,
    '-o',
    file,
    ...attach,
  ];
  const strace = spawn('strace', args, { stdio: ['ignore', 'ignore', 'pipe'] });
  let said = '';
  strace.stderr.setEncoding('utf8').on('data', (text: string) => {
    said += text;
  });
  const ended = once(strace, 'exit');
  const detach = async (): Promise<void> => {
    if (strace.exitCode === null) strace.kill('SIGINT');
    await ended;
  };
  cleanUp(t, detach);
  // A process may have ended between the list and the attempt, such as the server's side of a connection just closed.
  const isSettled = (pid: number): boolean =>
    said.includes(`Process ${pid} attached`) || said.includes(`PTRACE_SEIZE, ${pid}): No such process`);
  await waitFor(() => pids.every(isSettled), { what: 'strace to attach' }).catch((error: unknown) =>
    Promise.reject(new Error(`strace does not attach: ${said}`, { cause: error })),
  );
  return {
    async detach() {
      await detach();
      return parseTrace(await readFile(file, 'utf8'));
    },
  };
}

/** A call that another thread interrupts in the trace is two lines: its beginning, and `<... name resumed>`. */
export function parseTrace(text: string): readonly Call[] {
  const calls: Call[] = [];
  const open = new Map<string, Call>();
  for (const [at, line] of text.split('\n').entries()) {
    const found = /^(\d+) +(\d+\.\d+) (.*)$/s.exec(line);
    if (found === null) continue;
    const [, pid = '', time = '', rest = ''] = found;
    if (rest.startsWith('<... ')) {
      const call = open.get(pid);
      open.delete(pid);
      if (call !== undefined)
        Object.assign(call, { end: at, text: call.text + rest.replace(/^<\.\.\. \w+ resumed>/, '') });
      continue;
    }
    const name = /^(\w+)\(/.exec(rest)?.[1];
    if (name === undefined) continue;
    const unfinished = rest.endsWith('<unfinished ...>');
    const call = {
      pid: Number(pid),
      name,
      text: rest.replace(/<unfinished \.\.\.>$/, ''),
      beginAt: Number(time),
      begin: at,
      end: unfinished ? Number.POSITIVE_INFINITY : at,
    };
    calls.push(call);
    if (unfinished) open.set(pid, call);
  }
  return calls;
}
