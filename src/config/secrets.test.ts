import assert from 'node:assert/strict';
import { mkdir, rename, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { temporaryFolder } from '../testing/temporary-folder.ts';
import type { Environment } from './environment.ts';
import { loadSettings } from './load.ts';
import { readHeadersFile, secretFileNames } from './secrets.ts';

const STORE = { OBJECT_STORAGE_ENDPOINT: 'https://s3.example.com', OBJECT_STORAGE_BUCKET: 'mail' };

/** `files`: by name, what they hold. */
async function folderOf(t: TestContext, files: Readonly<Record<string, string>>) {
  const cwd = await temporaryFolder(t);
  for (const [name, text] of Object.entries(files)) await writeFile(join(cwd, name), text);
  const load = (env: Environment, file: string | null = null) => loadSettings({ env, cwd, readEnvFile: () => file });
  return {
    cwd,
    settings(env: Environment, file: string | null = null) {
      const loaded = load(env, file);
      assert.ok('settings' in loaded, JSON.stringify(loaded));
      return loaded.settings;
    },
    problems(env: Environment, file: string | null = null): readonly string[] {
      const loaded = load(env, file);
      return 'problems' in loaded ? loaded.problems : [];
    },
  };
}

test('every setting that is a secret has a file form', () => {
  assert.deepEqual(
    [...secretFileNames].sort(),
    [
      'DATABASE_URL_FILE',
      'OBJECT_STORAGE_ACCESS_KEY_FILE',
      'OBJECT_STORAGE_SECRET_KEY_FILE',
      'OBJECT_STORAGE_SESSION_TOKEN_FILE',
      'OTEL_EXPORTER_OTLP_HEADERS_FILE',
      'PGPASSWORD_FILE',
      'REDIS_URL_FILE',
    ].sort(),
  );
});

test('a secret is read from its file, without the newline at its end, and its place is kept', async (t) => {
  const { cwd, settings } = await folderOf(t, {
    url: 'postgresql://u:p%40ss@db/orders\n',
    redis: '\uFEFFrediss://:p@r:6380\r\n',
    access: 'AKIA\n',
    secret: 's3cr3t',
    token: 'token\n\n',
    headers: 'authorization=Bearer%20x\n',
  });
  const given = settings({
    ...STORE,
    DATABASE_URL_FILE: join(cwd, 'url'),
    REDIS_URL_FILE: 'redis',
    OBJECT_STORAGE_ACCESS_KEY_FILE: 'access',
    OBJECT_STORAGE_SECRET_KEY_FILE: './secret',
    OBJECT_STORAGE_SESSION_TOKEN_FILE: 'token',
    OTEL_EXPORTER_OTLP_ENDPOINT: 'http://collector:4318',
    OTEL_EXPORTER_OTLP_HEADERS_FILE: 'headers',
  });
  assert.equal(given.databaseUrl, 'postgresql://u:p%40ss@db/orders');
  assert.deepEqual(given.databaseSecret, { file: join(cwd, 'url'), holds: 'url' });
  assert.equal(given.redisUrl, 'rediss://:p@r:6380');
  assert.equal(given.redisUrlFile, join(cwd, 'redis'));
  const { accessKey, secretKey, sessionToken, secretFiles } = given.objectStorage ?? assert.fail();
  assert.deepEqual([accessKey, secretKey, sessionToken], ['AKIA', 's3cr3t', 'token']);
  assert.deepEqual(secretFiles, {
    accessKey: join(cwd, 'access'),
    secretKey: join(cwd, 'secret'),
    sessionToken: join(cwd, 'token'),
  });
  assert.deepEqual(given.tracing?.headers, { authorization: 'Bearer x' });
  const headersFile = given.tracing?.headersFile ?? assert.fail();
  assert.deepEqual(readHeadersFile(headersFile), { authorization: 'Bearer x' });
  assert.equal(readHeadersFile(join(cwd, 'none')), null);
  assert.equal(readHeadersFile(join(cwd, 'url')), null);
});

test('the password of PostgreSQL may have a file of its own, which counts where the URL has none', async (t) => {
  const { cwd, settings } = await folderOf(t, { password: 'p@ss/w%rd\n', url: 'postgresql://u@db/orders\n' });
  const file = join(cwd, 'password');
  const given = settings({ DATABASE_URL: 'postgresql://u@db/orders', PGPASSWORD_FILE: file });
  assert.equal(given.databaseUrl, 'postgresql://u:p%40ss%2Fw%25rd@db/orders');
  assert.deepEqual(given.databaseSecret, { file, holds: 'password' });
  assert.deepEqual(settings({ DATABASE_URL_FILE: 'url', PGPASSWORD_FILE: file }).databaseSecret, given.databaseSecret);
  const whole = settings({ DATABASE_URL: 'postgresql://u:own@db/orders', PGPASSWORD_FILE: file });
  assert.equal(whole.databaseUrl, 'postgresql://u:own@db/orders');
  assert.equal(whole.databaseSecret, null);
  assert.equal(settings({ PGPASSWORD_FILE: file }).databaseUrl, null);
});

test('a file may be replaced as Kubernetes does it: a link to a link that is renamed over', async (t) => {
  const { cwd, settings } = await folderOf(t, {});
  for (const [folder, text] of [
    ['..1', 'redis://one'],
    ['..2', 'redis://two'],
  ] as const) {
    await mkdir(join(cwd, folder));
    await writeFile(join(cwd, folder, 'REDIS_URL'), text);
    await symlink(folder, join(cwd, '..data_tmp'));
    await rename(join(cwd, '..data_tmp'), join(cwd, '..data'));
    if (folder === '..1') await symlink('..data/REDIS_URL', join(cwd, 'REDIS_URL'));
    assert.equal(settings({ REDIS_URL_FILE: join(cwd, 'REDIS_URL') }).redisUrl, text);
  }
});

test('a name alone is that of a credential of systemd, where there are some', async (t) => {
  const { cwd, settings, problems } = await folderOf(t, { 'redis-url': 'redis://here' });
  const credentials = await temporaryFolder(t);
  await writeFile(join(credentials, 'redis-url'), 'redis://credential');
  const given = { REDIS_URL_FILE: 'redis-url' };
  assert.equal(settings({ ...given, CREDENTIALS_DIRECTORY: credentials }).redisUrl, 'redis://credential');
  assert.equal(settings({ ...given }).redisUrl, 'redis://here');
  const path = { REDIS_URL_FILE: './redis-url', CREDENTIALS_DIRECTORY: credentials };
  assert.equal(settings(path).redisUrlFile, join(cwd, 'redis-url'));
  assert.deepEqual(problems({ REDIS_URL_FILE: 'none', CREDENTIALS_DIRECTORY: credentials }), [
    `REDIS_URL_FILE: ${join(credentials, 'none')} is not there`,
  ]);
});

test('a secret in both forms is refused, wherever they are from, and neither is shown', async (t) => {
  const { problems } = await folderOf(t, { secret: 'hunter2' });
  for (const [name, value] of [
    ['DATABASE_URL', 'postgresql://u:hunter2@db/orders'],
    ['REDIS_URL', 'redis://:hunter2@r'],
    ['OTEL_EXPORTER_OTLP_HEADERS', 'a=hunter2'],
    ['PGPASSWORD', 'hunter2'],
  ] as const) {
    const told = [`${name} and ${name}_FILE are both set: keep one of them, and unset the other`];
    assert.deepEqual(problems({ [name]: value, [`${name}_FILE`]: 'secret' }), told);
    assert.deepEqual(problems({ [`${name}_FILE`]: 'secret' }, `${name}=${value}`), told);
  }
});

test('a file that cannot be used is one line with the setting, the file and why, and nothing of its text', async (t) => {
  const { cwd, problems } = await folderOf(t, {
    empty: ' \n',
    two: 'hunter2\nhunter3',
    large: 'x'.repeat(70_000),
    wrong: 'mysql://u:hunter2@db',
  });
  await mkdir(join(cwd, 'folder'));
  for (const [file, told] of [
    ['none', /^DATABASE_URL_FILE: \S+\/none is not there$/],
    ['empty', /^DATABASE_URL_FILE: \S+\/empty is empty$/],
    ['two', /^DATABASE_URL_FILE: \S+\/two holds more than one line of text$/],
    ['large', /^DATABASE_URL_FILE: \S+\/large has more than 65536 bytes/],
    ['folder', /^DATABASE_URL_FILE: \S+\/folder is not a regular file$/],
    ['wrong', /^DATABASE_URL \(from DATABASE_URL_FILE\) \(value not shown\): must be a URL/],
  ] as const) {
    const [line = '', ...more] = problems({ DATABASE_URL_FILE: file });
    assert.match(line, told);
    assert.doesNotMatch(line, /hunter/);
    assert.deepEqual(more, []);
  }
  const store = problems({ ...STORE, OBJECT_STORAGE_ACCESS_KEY: 'a', OBJECT_STORAGE_SECRET_KEY_FILE: 'none' });
  assert.deepEqual(store.length, 1, 'not also as one that is not set');
});

test('the names of the file forms are known, and their near misses too', async (t) => {
  const { problems } = await folderOf(t, { url: 'postgresql://u@db/orders' });
  for (const [name, meant] of [
    ['DATABASE_URL_FIEL', 'DATABASE_URL_FILE'],
    ['REDIS_URL_FILES', 'REDIS_URL_FILE'],
    ['OBJECT_STORAGE_SECRET_FILE', 'OBJECT_STORAGE_SECRET_KEY_FILE'],
  ] as const) {
    assert.deepEqual(problems({ [name]: '/run/x' }), [`${name} is not a setting: did you mean ${meant}?`]);
  }
  assert.match(problems({ database_url_file: 'url' })[0] ?? '', /names are upper case, write DATABASE_URL_FILE/);
  assert.deepEqual(problems({ DATABASE_URL_FILE: 'url', POSTGRES_URL: 'theirs', PGPASSWORD_FILE: '' }), []);
  assert.deepEqual(problems({}, 'DATABASE_URL_FILE=url'), []);
});
