/**
 * `npm run broken-builds [-- NAME…]`: each promise is broken on purpose in a copy of the checkout, by a patch of
 * `test/broken-builds`, and the proof that should see it is run there. Ends with 1 when one does not see it, sees something else,
 * or when a patch does not apply any more.
 */
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, globSync } from 'node:fs';
import { cp, mkdir, readFile, symlink } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { makeTemporaryFolder, removeFolder } from '../src/testing/temporary-folder.ts';
import { scriptCommand } from './script-command.ts';

const ROOT = join(import.meta.dirname, '..');
const PATCHES = 'test/broken-builds';

export interface BrokenBuild {
  readonly name: string;
  /** Relative to the checkout. */
  readonly patch: string;
  /** What is broken. */
  readonly what: string;
  /** As it is typed: `npm test -- …` or `npm run … -- …`. */
  readonly proof: string;
  /** What `npm` would run: a program of `scripts`, and its arguments. */
  readonly program: readonly string[];
  /** What the proof says when it sees that, and not something else. Default: it fails, and not for want of a program. */
  readonly says: RegExp | null;
}

/**
 * Sorted by name. A patch begins with lines of `# proof: COMMAND`, `# says: REGULAR EXPRESSION`, which may be left out, and `# `
 * with what is broken. Errors: rejects where one does not.
 */
export async function readBrokenBuilds(): Promise<readonly BrokenBuild[]> {
  const { scripts } = JSON.parse(await readFile(join(ROOT, 'package.json'), 'utf8'));
  const patches = globSync(`${PATCHES}/*.patch`, { cwd: ROOT }).sort();
  return Promise.all(patches.map((patch) => readBrokenBuild(patch, scripts)));
}

async function readBrokenBuild(patch: string, scripts: Readonly<Record<string, string>>): Promise<BrokenBuild> {
  const [head = ''] = (await readFile(join(ROOT, patch), 'utf8')).split(/^diff /m, 1);
  const proof = /^# proof: (.+)$/m.exec(head)?.[1] ?? '';
  const says = /^# says: (.+)$/m.exec(head)?.[1];
  const what = [...head.matchAll(/^# (?!proof: |says: )(.+)$/gm)].map(([, line]) => line).join(' ');
  const [, name = '', args = ''] = /^npm (?:run )?(\S+) -- (.+)$/.exec(proof) ?? [];
  const [node, ...program] = `${scripts[name]} ${args}`.split(' ');
  if (what === '' || node !== 'node')
    throw new Error(`${patch} does not begin with "# proof: npm run NAME -- …" and "# " with what is broken`);
  return { name: basename(patch, '.patch'), patch, what, proof, program, says: says ? new RegExp(says) : null };
}

/** Why its patch does not apply to what is in the folder; null when it does. */
export function objectionTo({ patch }: BrokenBuild, folder = ROOT): string | null {
  return apply(['--check', join(ROOT, patch)], folder);
}

function apply(args: readonly string[], folder: string): string | null {
  const { status, stderr, error } = spawnSync('git', ['apply', ...args], { cwd: folder, encoding: 'utf8' });
  return status === 0 ? null : (error?.message ?? stderr.trim());
}

/** The checkout as it is now, uncommitted changes with it. */
async function copyCheckout(folder: string): Promise<string> {
  const copy = join(folder, 'checkout');
  const listed = execFileSync('git', ['ls-files', '-z', '--cached', '--others', '--exclude-standard'], { cwd: ROOT });
  const files = listed
    .toString()
    .split('\0')
    .filter((file) => file !== '' && existsSync(join(ROOT, file)));
  for (const file of files) {
    await mkdir(dirname(join(copy, file)), { recursive: true });
    await cp(join(ROOT, file), join(copy, file), { verbatimSymlinks: true });
  }
  await symlink(join(ROOT, 'node_modules'), join(copy, 'node_modules'));
  const shared = join(ROOT, '../shared');
  if (existsSync(shared)) await symlink(shared, join(folder, 'shared'));
  return copy;
}

type Verdict = 'caught' | 'NOT caught' | 'does not apply';

/** A patch that makes no program is seen by everything, and proves nothing. */
const BROKEN_OTHERWISE = /SyntaxError|ERR_MODULE_NOT_FOUND|ERR_UNKNOWN_/;

async function tryOut(build: BrokenBuild): Promise<Verdict> {
  const folder = await makeTemporaryFolder();
  try {
    const copy = await copyCheckout(folder);
    const objection = apply([join(ROOT, build.patch)], copy);
    if (objection !== null) {
      console.log(objection);
      return 'does not apply';
    }
    const { code, said } = await run(build, copy);
    const seen = said.split('\n').find((line) => build.says?.test(line) ?? /^[✖+]|not ok|[Ee]rror/.test(line));
    if (code !== 0 && seen !== undefined && !BROKEN_OTHERWISE.test(said)) {
      console.log(`  ${seen.trim()}`);
      return 'caught';
    }
    console.log(said.split('\n').slice(-40).join('\n'));
    return 'NOT caught';
  } finally {
    await removeFolder(folder);
  }
}

/** Owns: ended with us. */
async function run({ program }: BrokenBuild, cwd: string): Promise<{ code: number; said: string }> {
  const child = spawn(process.execPath, program, { cwd, stdio: ['ignore', 'pipe', 'pipe'] });
  // Its copy goes before we do.
  let interrupted = false;
  const end = (): void => {
    interrupted = true;
    child.kill('SIGTERM');
  };
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, end);
  let said = '';
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding('utf8').on('data', (text: string) => {
      said += text;
    });
  const [code] = await once(child, 'close');
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.off(signal, end);
  if (interrupted) throw new Error('interrupted');
  return { code: Number(code ?? 1), said };
}

async function main(): Promise<void> {
  const [...names] = scriptCommand('broken-builds', 'promises broken on purpose, and whether their proofs see it')
    .argument('[name...]', 'only these; default: all')
    .parse().args;
  const builds = (await readBrokenBuilds()).filter(({ name }) => names.length === 0 || names.includes(name));
  const unknown = names.filter((name) => !builds.some((build) => build.name === name));
  if (unknown.length > 0) throw new Error(`no such patch in ${PATCHES}: ${unknown.join(', ')}`);
  const failed: string[] = [];
  for (const build of builds) {
    console.log(`${build.name}: ${build.what}\n  ${build.proof}`);
    const verdict = await tryOut(build);
    console.log(`  ${verdict}`);
    if (verdict !== 'caught') failed.push(`${build.name}: ${verdict}`);
  }
  console.log(`${builds.length - failed.length} of ${builds.length} broken builds were caught`);
  if (failed.length > 0) throw new Error(failed.join('; '));
}

if (import.meta.main) {
  await main().catch((error: unknown) => {
    console.error(`error: ${error instanceof Error ? error.message : error}`);
    process.exitCode = 1;
  });
}
