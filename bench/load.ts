/** The two generators: our raw client in a process of its own, and Postfix's `smtp-source` where it is installed. */
import { type ChildProcess, fork, spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import type { LoadJob, LoadResult } from './load-run.ts';
import { FORWARD_PATH, REVERSE_PATH } from './mails.ts';

export type LoadName = 'client' | 'smtp-source';

export interface Load {
  readonly name: LoadName;
  /** Errors: rejects when the generator itself fails or takes far longer than asked. */
  send(job: LoadJob): Promise<LoadResult>;
  close(): Promise<void>;
}

/** A hundred mails of 25 MB take a minute on a slow disk. */
const TIMEOUT_MS = 600_000;

export function openClientLoad(): Load {
  const child = fork(fileURLToPath(new URL('./load-client.ts', import.meta.url)), {
    stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
  });
  const exited = once(child, 'exit');
  return {
    name: 'client',
    async send(job) {
      const answered = once(child, 'message', { signal: AbortSignal.timeout(TIMEOUT_MS) });
      child.send(job);
      const lost = exited.then(() => Promise.reject(new Error('the load client ended')));
      const [result] = await Promise.race([answered, lost]);
      return result as LoadResult;
    },
    async close() {
      if (child.connected) child.disconnect();
      await exited;
    },
  };
}

/** Debian keeps it where only root's path leads. */
const SMTP_SOURCE_NAMES = ['smtp-source', '/usr/sbin/smtp-source', '/usr/local/sbin/smtp-source'];

/** null when it is not installed. Its jobs must be by number of mails. */
export async function openSmtpSourceLoad(): Promise<Load | null> {
  for (const program of SMTP_SOURCE_NAMES) {
    const child = spawn(program, ['-?'], { stdio: 'ignore' });
    const found = await Promise.race([once(child, 'exit').then(() => true), once(child, 'error').then(() => false)]);
    if (found) return { name: 'smtp-source', send: (job) => runSmtpSource(program, job), close: async () => {} };
  }
  return null;
}

/**
 * It ends with 0 only when every mail was answered 2xx, else at the first that was not: how many were before, it does
 * not say. The time includes its own start, some milliseconds.
 */
async function runSmtpSource(program: string, job: LoadJob): Promise<LoadResult> {
  if (!('mails' in job.until)) throw new TypeError('smtp-source sends a number of mails, not for a time');
  const { mails } = job.until;
  const sizes = ['-s', `${job.senders}`, '-m', `${mails}`, '-l', `${job.sizeBytes}`];
  const envelope = ['-f', REVERSE_PATH, '-t', FORWARD_PATH, ...(job.reuse ? ['-d'] : [])];
  const startedAt = performance.now();
  const child = spawn(program, [...sizes, ...envelope, `${job.host}:${job.port}`], {
    stdio: ['ignore', 'ignore', 'pipe'],
    timeout: TIMEOUT_MS,
  });
  const complaints = await stderrOf(child);
  const elapsedMs = performance.now() - startedAt;
  const nothing = { elapsedMs, ackMs: [], generatorCpuMs: null };
  if (child.exitCode === 0) return { ...nothing, accepted: mails, replies: { '250': mails } };
  const why = complaints.trim() || `smtp-source ended with ${child.exitCode ?? child.signalCode}`;
  return { ...nothing, accepted: 0, replies: { [why]: 1 } };
}

/** All of it, once the process has ended. */
async function stderrOf(child: ChildProcess): Promise<string> {
  let text = '';
  child.stderr?.setEncoding('utf8').on('data', (more: string) => {
    text += more;
  });
  await once(child, 'close');
  return text;
}

export interface Sink {
  readonly port: number;
  close(): Promise<void>;
}

export async function openSink(): Promise<Sink> {
  const child = spawn(process.execPath, [fileURLToPath(new URL('./sink.ts', import.meta.url))], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const exited = once(child, 'exit');
  const [line] = await once(child.stdout, 'data');
  return {
    port: Number(String(line)),
    async close() {
      child.stdin.end();
      await exited;
    },
  };
}
