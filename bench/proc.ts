/** Processes as Linux tells of them under /proc. Elsewhere, or where it is forbidden, there is nothing: null or empty. */
import { readdirSync, readFileSync, readlinkSync, writeFileSync } from 'node:fs';
import { basename } from 'node:path';

/** Units of /proc/pid/stat: hundredths of a second on every Linux that Node runs on. */
const TICK_MS = 10;

export interface ProcessFacts {
  readonly pid: number;
  readonly parentPid: number;
  readonly cpuMs: number;
  /** Of its children that have ended and were waited for. */
  readonly endedChildrenCpuMs: number;
  /** Private memory, file pages and shared memory apart: the last two are the same pages in many processes. */
  readonly anonymousBytes: number;
  readonly fileBytes: number;
  readonly sharedBytes: number;
  /** The most it ever had, or had since `resetPeak`. */
  readonly peakResidentBytes: number;
  /** Ended children included; null where it may not be read. */
  readonly written: WrittenBytes | null;
}

/**
 * Two counts of the kernel's, each of which counts too much: where 8 KB of a file are overwritten, the whole folio that
 * holds them (up to megabytes) counts as dirtied; what is written to a socket or pipe counts as a call.
 */
export interface WrittenBytes {
  readonly dirtied: number;
  readonly byCalls: number;
}

const read = (path: string): string | null => {
  try {
    return readFileSync(path, 'latin1');
  } catch {
    return null;
  }
};

const kilobytes = (status: string, name: string): number =>
  1024 * Number(new RegExp(`^${name}:\\s+(\\d+)`, 'm').exec(status)?.[1] ?? 0);

/** null for a process that is gone. */
export function readProcess(pid: number): ProcessFacts | null {
  const [stat, status] = [read(`/proc/${pid}/stat`), read(`/proc/${pid}/status`)];
  if (stat === null || status === null) return null;
  // The name may hold spaces and parentheses; what follows the last one does not. The first is field 3 of proc(5).
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  const ticks = (field: number): number => Number(fields[field - 3]) * TICK_MS;
  const io = read(`/proc/${pid}/io`);
  const ioCount = (name: string): number => Number(new RegExp(`^${name}: (\\d+)`, 'm').exec(io ?? '')?.[1] ?? 0);
  return {
    pid,
    parentPid: Number(fields[1]),
    cpuMs: ticks(14) + ticks(15),
    endedChildrenCpuMs: ticks(16) + ticks(17),
    anonymousBytes: kilobytes(status, 'RssAnon'),
    fileBytes: kilobytes(status, 'RssFile'),
    sharedBytes: kilobytes(status, 'RssShmem'),
    peakResidentBytes: kilobytes(status, 'VmHWM'),
    written: io === null ? null : { dirtied: ioCount('write_bytes'), byCalls: ioCount('wchar') },
  };
}

/** The roots that live, and everything below them. */
export function processTree(roots: readonly number[]): readonly ProcessFacts[] {
  const children = new Map<number, number[]>();
  for (const pid of allPids()) {
    const stat = read(`/proc/${pid}/stat`);
    const parent = Number(stat?.slice(stat.lastIndexOf(')') + 2).split(' ')[1]);
    children.set(parent, [...(children.get(parent) ?? []), pid]);
  }
  const found = new Set<number>(roots);
  for (const pid of found) for (const child of children.get(pid) ?? []) found.add(child);
  return [...found].flatMap((pid) => readProcess(pid) ?? []);
}

/** Whether the kernel allowed it; if not, peaks are those of the whole life. */
export function resetPeak(pid: number): boolean {
  try {
    writeFileSync(`/proc/${pid}/clear_refs`, '5');
    return true;
  } catch {
    return false;
  }
}

/** What a reader of a table knows it by: `orderflow-ingest`, `postgres backend`, `smtpd`. */
export function processName(pid: number): string {
  const args = (read(`/proc/${pid}/cmdline`) ?? '').split('\0');
  return nameOf(args);
}

const POSTGRES_KINDS =
  /^postgres: (?:\S+: )?(checkpointer|background writer|walwriter|autovacuum \w+|io worker|logical replication launcher)/;

export function nameOf(args: readonly string[]): string {
  const program = args[0] ?? '';
  if (program.startsWith('postgres: ')) return `postgres ${POSTGRES_KINDS.exec(program)?.[1] ?? 'backend'}`;
  const name = basename(program);
  if (name === 'postgres') return 'postgres postmaster';
  const script = /^node/.test(name) ? args.slice(1).find((arg) => arg !== '' && !arg.startsWith('-')) : undefined;
  return script === undefined ? name || 'unknown' : basename(script).replace(/\.[cm]?[jt]s$/, '');
}

/** The processes that listen on a TCP port of this machine, without those below another of them. */
export function listenersOn(port: number): readonly number[] {
  const sockets = new Set(listeningSockets(port).map((inode) => `socket:[${inode}]`));
  if (sockets.size === 0) return [];
  const pids = new Set(allPids().filter((pid) => openFiles(pid).some((file) => sockets.has(file))));
  return [...pids].filter((pid) => !pids.has(readProcess(pid)?.parentPid ?? 0));
}

const LISTENING = '0A';

function listeningSockets(port: number): readonly string[] {
  const suffix = `:${port.toString(16).toUpperCase().padStart(4, '0')}`;
  const lines = ['tcp', 'tcp6'].flatMap((name) => (read(`/proc/net/${name}`) ?? '').split('\n').slice(1));
  const rows = lines.map((line) => line.trim().split(/\s+/));
  return rows.flatMap((row) => (row[1]?.endsWith(suffix) && row[3] === LISTENING && row[9] ? [row[9]] : []));
}

function openFiles(pid: number): readonly string[] {
  try {
    return readdirSync(`/proc/${pid}/fd`).flatMap((fd) => {
      try {
        return [readlinkSync(`/proc/${pid}/fd/${fd}`)];
      } catch {
        return [];
      }
    });
  } catch {
    return [];
  }
}

function allPids(): readonly number[] {
  try {
    return readdirSync('/proc').flatMap((name) => (/^\d+$/.test(name) ? [Number(name)] : []));
  } catch {
    return [];
  }
}
