/** What a set of processes uses while something runs: CPU, memory, bytes written. */
import { setTimeout as sleep } from 'node:timers/promises';
import { type ProcessFacts, processName, processTree, resetPeak, type WrittenBytes } from './proc.ts';

/** Looking costs a few milliseconds on the machine that is measured; short peaks come from the kernel's own mark. */
const INTERVAL_MS = 500;

export interface Usage {
  readonly cpuMs: number;
  /** null where it may not be read. */
  readonly writtenBytes: number | null;
  /** Most at any look, pages shared by several counted once: the program's processes, and those of PostgreSQL. */
  readonly memory: { readonly program: MemoryRange; readonly postgres: MemoryRange };
  readonly processes: readonly ProcessUsage[];
}

export interface MemoryRange {
  readonly beforeBytes: number;
  readonly peakBytes: number;
}

/** All processes of one name. */
export interface ProcessUsage {
  readonly name: string;
  readonly count: number;
  /** Without what processes used that ended between two looks; the sum of `Usage` has that too. */
  readonly cpuMs: number;
  /** Of the largest one, shared pages included. */
  readonly peakResidentBytes: number;
  readonly writtenBytes: number | null;
}

export interface Watch {
  /** null when there is nothing to look at: no such process, or no /proc. */
  stop(): Usage | null;
}

interface Seen {
  readonly name: string;
  readonly first: ProcessFacts | null;
  last: ProcessFacts;
}

export function watchProcesses(roots: readonly number[]): Watch {
  const before = processTree(roots);
  for (const { pid } of before) resetPeak(pid);
  const seen = new Map<number, Seen>();
  for (const facts of before) seen.set(facts.pid, { name: processName(facts.pid), first: facts, last: facts });
  const names = (facts: ProcessFacts): string => seen.get(facts.pid)?.name ?? '';
  const groupsBefore = divide(before, names);
  const [programBefore, postgresBefore] = groupsBefore.map(memoryOf);
  let [programPeak, postgresPeak] = [programBefore ?? 0, postgresBefore ?? 0];
  let now = before;
  const look = (): void => {
    now = processTree(roots);
    for (const facts of now) {
      const known = seen.get(facts.pid);
      if (known) known.last = facts;
      else seen.set(facts.pid, { name: processName(facts.pid), first: null, last: facts });
    }
    const [program, postgres] = divide(now, names);
    // One process alone: the kernel knows its peak between two looks.
    const alone = program?.length === 1 ? (program[0]?.peakResidentBytes ?? 0) : 0;
    programPeak = Math.max(programPeak, memoryOf(program ?? []), alone);
    postgresPeak = Math.max(postgresPeak, memoryOf(postgres ?? []));
  };
  const timer = setInterval(look, INTERVAL_MS);
  return {
    stop() {
      clearInterval(timer);
      if (before.length === 0) return null;
      look();
      return {
        cpuMs: totalCpuMs(now) - totalCpuMs(before),
        writtenBytes: sumOf(divide(now, names).map((group, index) => writtenBytes(group, groupsBefore[index] ?? []))),
        memory: {
          program: { beforeBytes: programBefore ?? 0, peakBytes: programPeak },
          postgres: { beforeBytes: postgresBefore ?? 0, peakBytes: postgresPeak },
        },
        processes: byName([...seen.values()]),
      };
    },
  };
}

function divide(all: readonly ProcessFacts[], nameOf: (facts: ProcessFacts) => string): readonly ProcessFacts[][] {
  const isPostgres = (facts: ProcessFacts): boolean => nameOf(facts).startsWith('postgres ');
  return [all.filter((facts) => !isPostgres(facts)), all.filter(isPostgres)];
}

/** File and shared pages of the largest stand for those of all: they are the same pages of the same program. */
export function memoryOf(processes: readonly ProcessFacts[]): number {
  const anonymous = processes.reduce((sum, { anonymousBytes }) => sum + anonymousBytes, 0);
  const most = (value: (facts: ProcessFacts) => number): number => Math.max(0, ...processes.map(value));
  return anonymous + most(({ fileBytes }) => fileBytes) + most(({ sharedBytes }) => sharedBytes);
}

/** A process that ends hands its account to its parent, so this only grows while the roots live. */
const totalCpuMs = (all: readonly ProcessFacts[]): number =>
  all.reduce((sum, { cpuMs, endedChildrenCpuMs }) => sum + cpuMs + endedChildrenCpuMs, 0);

/**
 * The smaller of the two counts, which is the nearer one. The kernel adds those of an ended child to its parent's own.
 */
export function writtenBytes(after: readonly ProcessFacts[], before: readonly ProcessFacts[]): number | null {
  if (after.every(({ written }) => written === null)) return null;
  const sum = (all: readonly ProcessFacts[], name: keyof WrittenBytes): number =>
    all.reduce((total, { written }) => total + (written?.[name] ?? 0), 0);
  const growth = (name: keyof WrittenBytes): number => sum(after, name) - sum(before, name);
  return Math.min(growth('dirtied'), growth('byCalls'));
}

const sumOf = (values: readonly (number | null)[]): number | null =>
  values.reduce((sum, value) => (value === null ? sum : (sum ?? 0) + value), null);

function byName(all: readonly Seen[]): readonly ProcessUsage[] {
  const groups = Map.groupBy(all, ({ name }) => name);
  const usages = [...groups].map(([name, group]) => ({
    name,
    count: group.length,
    cpuMs: group.reduce((sum, { first, last }) => sum + last.cpuMs - (first?.cpuMs ?? 0), 0),
    peakResidentBytes: Math.max(...group.map(({ last }) => last.peakResidentBytes)),
    writtenBytes: writtenBytes(
      group.map(({ last }) => last),
      group.flatMap(({ first }) => first ?? []),
    ),
  }));
  return usages.sort((a, b) => b.cpuMs - a.cpuMs);
}

const QUIET_CPU_MS = 20;
const LOOK_MS = 250;
const MAX_QUIET_WAIT_MS = 15_000;

/** Waits until they do next to nothing, as after the last mail of a queue; gives up on what never rests. */
export async function untilQuiet(roots: readonly number[]): Promise<void> {
  const deadline = performance.now() + MAX_QUIET_WAIT_MS;
  let before = totalCpuMs(processTree(roots));
  do {
    await sleep(LOOK_MS);
    const now = totalCpuMs(processTree(roots));
    if (now - before <= QUIET_CPU_MS) return;
    before = now;
  } while (performance.now() < deadline);
}
