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
  /** A program of `scripts`, and its arguments. */
  readonly proof: readonly string[];
  /** What the proof says when it sees that, and not something else. */
  readonly says: RegExp;
}

/** Sorted by name. Errors: rejects where a patch does not say what it proves. */
export async function readBrokenBuilds(): Promise<readonly BrokenBuild[]> {
  const patches = globSync(`${PATCHES}/*.patch`, { cwd: ROOT }).sort();
  return Promise.all(
    patches.map(async (patch) => {
      const [head = ''] = (await readFile(join(ROOT, patch), 'utf8')).split(/^diff /m, 1);
      const [, what, proof, says] = /^([\s\S]+?)\n\nProof: node (.+)\nSays: (.+)\n/.exec(head) ?? [];
      if (what === undefined || proof === undefined || says === undefined)
        throw new Error(`${patch} begins with what is broken, an empty line, "Proof: node …" and "Says: …"`);
      return { name: basename(patch, '.patch'), patch, what, proof: proof.split(' '), says: new RegExp(says) };
    }),
  );
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
    const seen = said.split('\n').find((line) => build.says.test(line));
    if (code !== 0 && seen !== undefined) {
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
async function run({ proof }: BrokenBuild, cwd: string): Promise<{ code: number; said: string }> {
  const child = spawn(process.execPath, proof, { cwd, stdio: ['ignore', 'pipe', 'pipe'] });
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
    console.log(`${build.name}: ${build.what}\n  node ${build.proof.join(' ')}`);
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
