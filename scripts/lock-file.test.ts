/** What `npm ci` installs is what was locked: every package by its content, from whichever registry it comes. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';

interface LockedPackage {
  readonly version?: string;
  readonly resolved?: string;
  readonly integrity?: string;
  /** A folder of this repository. */
  readonly link?: boolean;
  /** Comes inside the tarball of another package, whose digest covers it. */
  readonly inBundle?: boolean;
}

type Packages = Readonly<Record<string, LockedPackage>>;

const ROOT = join(import.meta.dirname, '..');
/** npm fills no digest into an entry that is there already. */
const REMEDY =
  'in a copy of package.json alone, run ' +
  'npm install --package-lock-only --ignore-scripts --omit-lockfile-registry-resolved';

const readJson = (name: string) => JSON.parse(readFileSync(join(ROOT, name), 'utf8'));

/** Shape: a line for each entry that npm would take whatever a registry sends for, or ask one fixed registry for. */
function faultsOf(packages: Packages): readonly string[] {
  return Object.entries(packages).flatMap(([path, entry]) => {
    const faults = [];
    const isDownloaded = path !== '' && !entry.link && !entry.inBundle;
    if (isDownloaded && !/^sha512-[A-Za-z0-9+/]{86}==$/.test(entry.integrity ?? '')) faults.push(`${path}: no sha512`);
    if (entry.resolved !== undefined && !entry.link) faults.push(`${path}: resolved names a registry`);
    return faults;
  });
}

test('every package is locked by its content, and no registry is named', () => {
  const { packages } = readJson('package-lock.json') as { packages: Packages };
  assert.ok(Object.keys(packages).length > 100);
  assert.deepEqual(faultsOf(packages), [], REMEDY);
});

test('direct dependencies are exact versions, and those that are locked', () => {
  const { dependencies, devDependencies, optionalDependencies } = readJson('package.json');
  const { packages } = readJson('package-lock.json') as { packages: Packages };
  const direct: Record<string, string> = { ...dependencies, ...devDependencies, ...optionalDependencies };
  const locked = Object.keys(direct).map((name) => [name, packages[`node_modules/${name}`]?.version]);
  assert.deepEqual(Object.fromEntries(locked), direct);
});

test('an entry without a digest, with a weaker one, or with an address is found', () => {
  const integrity = `sha512-${'A'.repeat(86)}==`;
  const packages: Packages = {
    '': { version: '1.0.0' },
    'node_modules/good': { version: '1.0.0', integrity },
    'node_modules/inside': { version: '1.0.0', inBundle: true },
    'node_modules/linked': { resolved: 'packages/linked', link: true },
    'node_modules/none': { version: '1.0.0' },
    'node_modules/weak': { version: '1.0.0', integrity: 'sha1-2jmj7l5rSw0yVb/vlWAYkK/YBwk=' },
    'node_modules/fixed': { version: '1.0.0', integrity, resolved: 'https://registry.example.com/fixed-1.0.0.tgz' },
  };
  assert.deepEqual(faultsOf(packages), [
    'node_modules/none: no sha512',
    'node_modules/weak: no sha512',
    'node_modules/fixed: resolved names a registry',
  ]);
});
