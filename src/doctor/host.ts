/** The machine and the runtime: Node, memory, threads, file descriptors, clock. None of it needs a setting. */
import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { totalmem } from 'node:os';
import { promisify } from 'node:util';
import { broken, type Finding, ok, warning } from '../ports/finding.ts';

const OLDEST_NODE = 24;
/** Idle we take some 150 MB, and 256 MB more with 100 large mails at the same time; PostgreSQL may live here too. */
const COMFORTABLE_MEMORY_BYTES = 512 * 1024 * 1024;
/** Every mail on its way holds a thread while it waits for the disk; libuv's own four make a queue of them. */
const COMFORTABLE_THREADS = 16;
/** A connection holds a socket and, while a mail comes, a file. */
const DESCRIPTORS_PER_CONNECTION = 2;
/** Database, object store, directories kept open, HTTP, logs. */
const OTHER_DESCRIPTORS = 200;

export function checkNode(version: string): Finding {
  const major = Number.parseInt(version.replace(/^v/, ''), 10);
  if (major >= OLDEST_NODE) return ok('node', `Node ${version.replace(/^v/, '')}`);
  return broken('node', `Node ${version} is too old`, `use Node ${OLDEST_NODE} or newer; npm ci brings one along`);
}

/** `limitBytes` is what the container may use; 0 or absurdly large when it has no limit of its own. */
export function checkMemory(limitBytes: number, machineBytes = totalmem()): Finding {
  const bytes = limitBytes > 0 && limitBytes < machineBytes ? limitBytes : machineBytes;
  const text = `${Math.round(bytes / 1024 / 1024)} MiB of memory${bytes < machineBytes ? ' (the limit of this container)' : ''}`;
  if (bytes >= COMFORTABLE_MEMORY_BYTES) return ok('memory', text);
  return warning('memory', `only ${text}`, 'give it 512 MiB or more: many large mails at the same time need them');
}

/** `setting` is UV_THREADPOOL_SIZE as the process has it. */
export function checkThreads(setting: string | undefined): Finding {
  const threads = Number(setting ?? 4);
  if (threads >= COMFORTABLE_THREADS) return ok('threads', `${threads} threads wait for the disk`);
  return warning(
    'threads',
    `UV_THREADPOOL_SIZE is ${setting ?? 'not set'}: at most ${threads} files are synced at the same time`,
    'leave UV_THREADPOOL_SIZE out (32 is then taken) or set it to 32',
  );
}

/** `limit` null: it could not be found out. */
export function checkDescriptors(limit: number | null, maxConnections: number): Finding {
  const needed = maxConnections * DESCRIPTORS_PER_CONNECTION + OTHER_DESCRIPTORS;
  if (limit === null) return ok('descriptors', 'the limit of open files is not known on this system');
  if (limit >= needed) return ok('descriptors', `${limit === Infinity ? 'any number of' : limit} files may be open`);
  return broken(
    'descriptors',
    `only ${limit} files may be open; SMTP_MAX_CONNECTIONS=${maxConnections} needs ${needed}`,
    `raise the limit (ulimit -n ${needed}, LimitNOFILE=${needed} under systemd), or lower SMTP_MAX_CONNECTIONS`,
  );
}

/** Of this process; Node raises the soft limit to the hard one at its start, and so it will in the server. */
export async function readDescriptorLimit(): Promise<number | null> {
  const limits = await readFile('/proc/self/limits', 'utf8').catch(() => null);
  const soft = /^Max open files\s+(\S+)/m.exec(limits ?? '')?.[1] ?? (await askShell());
  if (soft === 'unlimited') return Infinity;
  const limit = Number.parseInt(soft ?? '', 10);
  return Number.isNaN(limit) ? null : limit;
}

async function askShell(): Promise<string | null> {
  if (process.platform === 'win32') return null;
  return promisify(execFile)('/bin/sh', ['-c', 'ulimit -n']).then(
    ({ stdout }) => stdout.trim(),
    () => null,
  );
}

/** This program is younger than that. */
const NO_EARLIER_THAN = new Date('2026-01-01T00:00:00Z');
const NO_LATER_THAN = new Date('2100-01-01T00:00:00Z');

export function checkClock(now: Date): Finding {
  if (now >= NO_EARLIER_THAN && now < NO_LATER_THAN) return ok('clock', `this machine says ${now.toISOString()}`);
  return broken(
    'clock',
    `this machine says ${now.toISOString()}, which cannot be`,
    'set the clock, and let NTP (chrony, systemd-timesyncd) keep it',
  );
}
