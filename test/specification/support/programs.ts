/** Programs that are not ours, run to their end with a deadline. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { accessSync, constants } from 'node:fs';
import { delimiter, join } from 'node:path';
import { bareEnvironment } from '../../../src/testing/environment.ts';

export interface Ended {
  readonly code: number | null;
  readonly stdout: Buffer;
  readonly stderr: string;
}

export interface RunOptions {
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd?: string;
  readonly input?: string | Uint8Array;
  readonly timeoutMs?: number;
}

/** Errors: rejects when it cannot be started or does not end in time. */
export async function run(program: string, args: readonly string[], options: RunOptions = {}): Promise<Ended> {
  const { env, cwd, input = '', timeoutMs = 60_000 } = options;
  const child = spawn(program, [...args], {
    stdio: ['pipe', 'pipe', 'pipe'],
    timeout: timeoutMs,
    killSignal: 'SIGKILL',
    ...(cwd ? { cwd } : {}),
    ...(env ? { env } : {}),
  });
  const stdout: Buffer[] = [];
  let stderr = '';
  child.stdout.on('data', (chunk: Buffer) => stdout.push(chunk));
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr += text;
  });
  child.stdin.on('error', () => {}); // it need not read what it is given
  child.stdin.end(input);
  const [code, signal] = (await once(child, 'close')) as [number | null, NodeJS.Signals | null];
  if (signal !== null) throw new Error(`${program} ended with ${signal} (deadline ${timeoutMs} ms)\n${stderr}`);
  return { code, stdout: Buffer.concat(stdout), stderr };
}

/** Where Debian keeps what is not for everyone. */
const ALSO = ['/usr/bin', '/usr/sbin', '/usr/local/sbin'];

/** The program's path, or null. The distribution's own comes first: it knows the distribution's packages. */
export function findProgram(name: string, first: readonly string[] = []): string | null {
  const folders = [...first, ...ALSO, ...(bareEnvironment().PATH ?? '').split(delimiter)];
  return folders.map((folder) => join(folder, name)).find(isExecutable) ?? null;
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
