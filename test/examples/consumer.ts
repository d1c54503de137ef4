/** The consumers of `examples/` as programs of their own, each in a folder with nothing else of ours. */
import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { copyFile, mkdir, readFile, symlink } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import type { TestContext } from 'node:test';
import { promisify } from 'node:util';
import type pg from 'pg';
import { cleanUp } from '../../src/testing/clean-up.ts';
import { bareEnvironment } from '../../src/testing/environment.ts';
import { missing } from '../../src/testing/missing.ts';
import { temporaryFolder } from '../../src/testing/temporary-folder.ts';

const EXAMPLES = join(import.meta.dirname, '../../examples');
const MODULES = join(import.meta.dirname, '../../node_modules');
const STAND_IN = join(import.meta.dirname, 'stand-in');

export type Language = 'JavaScript' | 'Python';

/** What a consumer prints of a document that it is through with. */
export interface Told {
  readonly documentId: string;
  readonly sha256: string;
}

export interface Consumer {
  told(): readonly Told[];
  errors(): string;
  kill(): Promise<void>;
  /** SIGTERM. Shape: the exit code. */
  stop(): Promise<number | null>;
}

export async function startConsumer(
  t: TestContext,
  language: Language,
  env: Readonly<Record<string, string>>,
): Promise<Consumer> {
  const { file, script, cwd, variables } = language === 'Python' ? await inPython(t) : await inJavaScript(t);
  const child = spawn(file, [script], {
    cwd,
    env: { ...bareEnvironment(), ...variables, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const exit = once(child, 'exit');
  cleanUp(t, async () => {
    child.kill('SIGKILL');
    await exit;
  });
  const lines: string[] = [];
  createInterface({ input: child.stdout }).on('line', (line) => lines.push(line));
  let errors = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    errors += text;
  });
  return {
    told: () => lines.map(language === 'Python' ? ofWords : ofJson),
    errors: () => errors,
    async kill() {
      child.kill('SIGKILL');
      await exit;
    },
    async stop() {
      child.kill('SIGTERM');
      const [code] = await exit;
      return code;
    },
  };
}

function ofJson(line: string): Told {
  const { document_id, sha256 } = JSON.parse(line) as { document_id: string; sha256: string };
  return { documentId: document_id, sha256 };
}

function ofWords(line: string): Told {
  const words = line.split(' ');
  return { documentId: words[0] ?? '', sha256: words.at(-1) ?? '' };
}

interface Program {
  readonly file: string;
  readonly script: string;
  readonly cwd: string;
  readonly variables: Readonly<Record<string, string>>;
}

/** With the packages that its head names. */
async function inJavaScript(t: TestContext): Promise<Program> {
  const cwd = await temporaryFolder(t);
  const script = 'extract-document.mjs';
  const text = await readFile(join(EXAMPLES, script), 'utf8');
  const named = /^ \*\s+npm install (.*)$/m.exec(text)?.[1]?.split(' ') ?? [];
  assert.ok(named.length > 0, 'its head names packages');
  for (const name of named) {
    const [, packageName = '', version = ''] = /^(@?[^@]+)@(.+)$/.exec(name) ?? [];
    const at = join(MODULES, packageName);
    const installed = JSON.parse(await readFile(join(at, 'package.json'), 'utf8')).version;
    assert.equal(installed, version, `${name} is the one of ours`);
    await mkdir(dirname(join(cwd, 'node_modules', packageName)), { recursive: true });
    await symlink(at, join(cwd, 'node_modules', packageName));
  }
  await copyFile(join(EXAMPLES, script), join(cwd, script));
  return { file: await oldestNode(), script, cwd, variables: {} };
}

/** That of the machine, where it is one that the README takes; the tests themselves run on a newer one. */
async function oldestNode(): Promise<string> {
  const path = '/usr/bin/node';
  const version = await promisify(execFile)(path, ['--version']).catch(() => ({ stdout: 'v0' }));
  return Number(/^v(\d+)/.exec(version.stdout)?.[1]) >= 20 ? path : process.execPath;
}

/** Debian's Python with its psycopg and boto3. Only `bullmq` is stood in for: see stand-in/bullmq.py. */
async function inPython(t: TestContext): Promise<Program> {
  const cwd = await temporaryFolder(t);
  const script = 'extract_document.py';
  await copyFile(join(EXAMPLES, script), join(cwd, script));
  const variables = { PYTHONPATH: STAND_IN, PYTHONDONTWRITEBYTECODE: '1', STAND_IN_NODE: process.execPath };
  return { file: (await pythonWithPackages()) ?? 'python3', script, cwd, variables };
}

/** Other Pythons of a machine do not see what Debian has installed. */
async function pythonWithPackages(): Promise<string | null> {
  for (const file of ['/usr/bin/python3', 'python3']) {
    const found = await promisify(execFile)(file, ['-c', 'import psycopg, boto3']).then(
      () => true,
      () => false,
    );
    if (found) return file;
  }
  return null;
}

/** False: the test is skipped, and should return. */
export async function canRun(t: TestContext, language: Language): Promise<boolean> {
  if (language === 'JavaScript' || (await pythonWithPackages()) !== null) return true;
  missing(t, 'psycopg or boto3', 'apt install python3-psycopg python3-boto3');
  return false;
}

/** A login that has the role of the next stage and nothing else, as docs/next-stage.md has an operator make it. */
export async function consumerLogin(t: TestContext, pool: pg.Pool, url: string): Promise<string> {
  const login = `consumer_${randomBytes(4).toString('hex')}`;
  await pool.query(`CREATE ROLE ${login} LOGIN PASSWORD 'p'`);
  cleanUp(t, async () => void (await pool.query(`DROP ROLE ${login}`)));
  await pool.query(`GRANT orderflow_next_stage TO ${login}`);
  return Object.assign(new URL(url), { username: login, password: 'p' }).href;
}
