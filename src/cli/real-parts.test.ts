/** The commands on the real composition: PostgreSQL, file store, and a message put there as the server does. */
import assert from 'node:assert/strict';
import { readdir } from 'node:fs/promises';
import { type TestContext, test } from 'node:test';
import pg from 'pg';
import * as compose from '../compose/index.ts';
import { cleanUp } from '../testing/clean-up.ts';
import { createTestDatabase } from '../testing/database.ts';
import { temporaryFolder } from '../testing/temporary-folder.ts';
import { createMemoryToolbox, createTestCli } from './test-context.ts';

async function realCli(t: TestContext, databaseUrl?: string) {
  const database = databaseUrl === undefined ? await createTestDatabase() : null;
  if (database !== null) cleanUp(t, () => database.close());
  const url = databaseUrl ?? database?.url ?? '';
  const cwd = await temporaryFolder(t);
  return { url, cli: createTestCli({ compose, cwd, env: { DATABASE_URL: url, DATA_DIR: cwd } }) };
}

test('organisations and blocks are kept in the database, and a slug is taken only once', async (t) => {
  const { cli } = await realCli(t);
  assert.equal((await cli.run('org', 'add', 'acme', '--name', "Acme 'n' Söhne")).code, 0);
  assert.equal((await cli.run('org', 'add', 'acme')).code, 1);
  const [organisation] = JSON.parse((await cli.run('org', 'list', '--json')).stdout);
  assert.equal(organisation.name, "Acme 'n' Söhne");
  assert.equal((await cli.run('block', 'add', '@Example.net', '--org', 'acme')).code, 0);
  assert.match((await cli.run('block', 'add', '@example.net', '--org', 'acme')).stderr, /was already/);
  const [blocked] = JSON.parse((await cli.run('block', 'list', '--json')).stdout);
  assert.deepEqual([blocked.pattern, blocked.org_id], ['@example.net', organisation.id]);
  assert.equal((await cli.run('block', 'remove', '@example.net', '--org', 'acme')).code, 0);
  assert.equal((await cli.run('block', 'remove', '@example.net', '--org', 'acme')).code, 1);
});

test('messages are listed and shown by organisation, and one without its raw mail is told as such', async (t) => {
  const { cli, url } = await realCli(t);
  await cli.run('org', 'add', 'acme');
  await cli.run('org', 'add', 'other');
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  cleanUp(t, () => client.end());
  const { rows } = await client.query<{ id: string }>(
    `INSERT INTO inbound_message (org_id, source, source_message_id, subject, received_at, raw_storage_key, status, trace_id)
     SELECT id, 'EMAIL', '<1@example.com>', E'Order \\u001b[2J', now(), 'a/2026/01/b.eml', 'RECEIVED', 't'
     FROM org WHERE slug = 'acme' RETURNING id`,
  );
  const id = rows[0]?.id ?? assert.fail('no row');
  assert.equal(JSON.parse((await cli.run('messages', 'list', '--json', '--org', 'acme')).stdout)[0].id, id);
  assert.equal((await cli.run('messages', 'list', '--json', '--org', 'other')).stdout, '[]\n');
  assert.match((await cli.run('messages', 'show', id)).stdout, /\nsubject +Order \\u\{1b\}\[2J\n/);
  const raw = await cli.run('messages', 'raw', id);
  assert.equal(raw.code, 1);
  assert.match(raw.stderr, /^error: the raw mail a\/2026\/01\/b\.eml is missing from the object store\n$/);
});

test('a command that only looks makes no database, and says where it looked', async (t) => {
  const cwd = await temporaryFolder(t);
  const cli = createTestCli({ compose, cwd, env: { DATA_DIR: 'dta' } });
  const id = '01890a5d-ac96-774b-bcce-b302099a8057';
  const looking = [
    ['org', 'list'],
    ['block', 'list'],
    ['block', 'remove', '@example.net'],
    ['messages', 'list'],
    ['messages', 'show', id],
    ['messages', 'raw', id],
  ];
  for (const args of looking) {
    const { code, stdout, stderr } = await cli.run(...args);
    assert.deepEqual([code, stdout], [1, ''], args.join(' '));
    assert.ok(stderr.startsWith(`error: no database in ${cwd}/dta/postgres; is DATA_DIR right? `), stderr);
    assert.deepEqual(await readdir(cwd), [], args.join(' '));
  }
});

test('only what adds something may make a database', async () => {
  const created: (boolean | undefined)[] = [];
  const openToolbox = async ({ create }: { create?: boolean }) => {
    created.push(create);
    return createMemoryToolbox();
  };
  const cli = createTestCli({ compose: { openToolbox } });
  await cli.run('org', 'add', 'acme');
  await cli.run('block', 'add', '@example.net');
  assert.deepEqual(created, [true, true]);
  await cli.run('block', 'remove', '@example.net');
  await cli.run('org', 'list');
  assert.deepEqual(created.slice(2), [false, false]);
});

test('migrate is idempotent', async (t) => {
  const { cli } = await realCli(t);
  const { code, stdout, stderr } = await cli.run('migrate');
  assert.deepEqual([code, stdout, stderr], [0, '', 'the schema is up to date already\n']);
});

test('a database that is not there is told in words, without its password, and ends with 1', async (t) => {
  const { cli } = await realCli(t, 'postgresql://app:hunter2@127.0.0.1:9/orders');
  for (const args of [['org', 'list'], ['migrate'], ['start']]) {
    const { code, stdout, stderr } = await cli.run(...args);
    assert.equal(code, 1);
    assert.equal(stdout, '');
    assert.match(stderr, /^error: (?!unexpected)/, stderr);
    assert.doesNotMatch(stderr, /hunter2|\n\s+at /);
  }
});
