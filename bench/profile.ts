/**
 * `node bench/profile.ts FILE.cpuprofile…`: where the time of a process went, from what `--cpu-prof` has written: by
 * place (a folder of ours, a package, Node itself) and by function, own time without what it called.
 */
import { readFile } from 'node:fs/promises';
import { figure, markdownTable } from './report.ts';

interface CpuProfile {
  readonly nodes: readonly {
    readonly id: number;
    readonly callFrame: { readonly functionName: string; readonly url: string; readonly lineNumber: number };
  }[];
  readonly samples: readonly number[];
  /** Units: microseconds; before the sample of the same index. */
  readonly timeDeltas: readonly number[];
}

export interface OwnTime {
  readonly name: string;
  readonly ms: number;
}

const FUNCTIONS_TOLD = 30;

/** Most first. `(idle)` is not among them: it is time not used. */
export function ownTimes(profile: CpuProfile, name: (place: string, functionName: string) => string): OwnTime[] {
  const frames = new Map(profile.nodes.map((node) => [node.id, node.callFrame]));
  const sums = new Map<string, number>();
  for (const [index, id] of profile.samples.entries()) {
    const frame = frames.get(id);
    if (frame === undefined || frame.functionName === '(idle)') continue;
    const key = name(placeOf(frame.url), `${frame.functionName || '(anonymous)'}${lineOf(frame)}`);
    sums.set(key, (sums.get(key) ?? 0) + (profile.timeDeltas[index] ?? 0) / 1000);
  }
  return [...sums].map(([key, ms]) => ({ name: key, ms })).sort((a, b) => b.ms - a.ms);
}

const lineOf = ({ url, lineNumber }: { readonly url: string; readonly lineNumber: number }): string =>
  url === '' ? '' : ` ${url.split('/').at(-1)}:${lineNumber + 1}`;

/** `src/smtp`, `package pg`, `node:net`, `runtime` for what is no JavaScript (collecting garbage, native code). */
export function placeOf(url: string): string {
  if (url === '') return 'runtime';
  if (url.startsWith('node:')) return url.split('/')[0] ?? url;
  const inPackage = /.*\/node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(url);
  if (inPackage) return `package ${inPackage[1]}`;
  return /.*\/((?:src|dist|bin)\/.*|(?:src|dist|bin))\/[^/]+$/.exec(url)?.[1] ?? url;
}

function table(title: string, times: readonly OwnTime[]): string {
  const total = times.reduce((sum, { ms }) => sum + ms, 0);
  const rows = times
    .slice(0, FUNCTIONS_TOLD)
    .map(({ name, ms }) => [name, figure(ms), `${figure((100 * ms) / total)} %`]);
  return markdownTable([title, 'own ms', 'share'], rows);
}

if (import.meta.main) {
  process.stdout.on('error', () => process.exit()); // `| head` has read enough.
  const paths = process.argv.slice(2);
  if (paths.length === 0) {
    console.error('usage: node bench/profile.ts FILE.cpuprofile…');
    process.exitCode = 2;
  }
  for (const path of paths) {
    const profile: CpuProfile = JSON.parse(await readFile(path, 'utf8'));
    const byPlace = ownTimes(profile, (place) => place);
    const byFunction = ownTimes(profile, (place, functionName) => `${place}: ${functionName}`);
    process.stdout.write(`${path}\n\n${table('place', byPlace)}\n${table('function', byFunction)}\n`);
  }
}
