/** Passwords and keys that are replaced while mail comes in: it goes on, without a restart, and none is lost. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { createTestCli } from '../../src/cli/test-context.ts';
import * as compose from '../../src/compose/index.ts';
import { cleanUp } from '../../src/testing/clean-up.ts';
import { createTestDatabase } from '../../src/testing/database.ts';
import { redisClient, startTestRedis } from '../../src/testing/redis.ts';
import { temporaryFolder } from '../../src/testing/temporary-folder.ts';
import { waitFor } from '../../src/testing/wait-for.ts';
import { audit, inWords } from './audit.ts';
import { openFrontDoor, SLUGS, withClient } from './front-door.ts';
import { createLedger, type Ledger } from './ledger.ts';
import { deliverOnce, startMailQueue } from './mail-queue.ts';
import { composeOrder, orders } from './order-mail.ts';
import { type OwnPostgres, openOwnPostgres } from './own-postgres.ts';

for (const form of ['DATABASE_URL_FILE', 'PGPASSWORD_FILE'] as const) {
  test(`the password of PostgreSQL changes three times (${form}): mail goes on, and so do jobs and commands`, (t) =>
    passwordRotated(t, form));
}

test('the password of Redis changes: jobs wait, and flow again without a restart', async (t) => {
  const redis = await startTestRedis(t, { args: ['--requirepass', 'hunter2'] });
  if (redis === null) return;
  const database = await createTestDatabase();
  cleanUp(t, () => database.close());
  const file = join(await temporaryFolder(t), 'redis-url');
  const url = (password: string) => redis.url.replace('//', `//:${password}@`);
  await writeFile(file, url('hunter2'));
  const door = await openFrontDoor(t, { databaseUrl: database.url, env: { REDIS_URL_FILE: file } });
  const client = redisClient(t, url('hunter2'));
  const jobs = async () => (await client.keys('bull:extract_document:*-*-*-*-*')).length;
  const deliver = async () => {
    const mail = await composeOrder({ slugs: ['acme'], attachmentBytes: [2_000] });
    assert.equal((await deliverOnce(door.port, mail, createLedger())).code, 250);
  };
  await deliver();
  await waitFor(async () => (await jobs()) === 1, { what: 'the first job in Redis' });
  await client.config('SET', 'requirepass', 'hunter3');
  await client.call('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes');
  await deliver();
  await waitFor(() => JSON.stringify(door.product.log).includes('refuses our user name or password'), {
    what: 'the refusal to be told',
  });
  assert.equal(await jobs(), 1);
  await writeFile(file, url('hunter3'));
  await waitFor(async () => (await jobs()) === 2, { what: 'the second job in Redis' });
  const env = { REDIS_URL_FILE: file, DATABASE_URL: database.url, DATA_DIR: door.dataDir };
  const requeued = await createTestCli({ compose, cwd: door.dataDir, env }).run(
    ...['jobs', 'requeue', '--stored-before', new Date().toISOString()],
  );
  assert.equal(requeued.code, 0, requeued.stderr);
  await door.product.stop();
  assert.doesNotMatch(JSON.stringify(door.product.log) + door.product.stderr(), /hunter/);
});

async function passwordRotated(t: TestContext, form: 'DATABASE_URL_FILE' | 'PGPASSWORD_FILE'): Promise<void> {
  const login = await rotatingLogin(t, await openOwnPostgres(t), form);
  await login.writeFile();
  const door = await openFrontDoor(t, { env: login.env, args: ['--processes', '2'] });
  const ledger = createLedger();
  const queue = startMailQueue(t, { port: door.port, ledger, mails: orders(SLUGS), connections: 8, pauseMs: 10 });
  await nextAcknowledgements(ledger, 30);

  // The file is ahead of the server: what is open goes on, and so does what is made new in between.
  login.change();
  await login.writeFile();
  await login.endSessions();
  await nextAcknowledgements(ledger, 30);
  await login.alterRole();
  await login.endSessions();
  await nextAcknowledgements(ledger, 30);

  // The server is ahead of the file: senders are told to come again until it is there.
  login.change();
  await login.alterRole();
  await login.endSessions();
  await sleep(1_500);
  await login.writeFile();
  await nextAcknowledgements(ledger, 30);

  // Both at once; then all processes are replaced, which begin with the login of the moment.
  login.change();
  await Promise.all([login.alterRole(), login.writeFile()]);
  await login.endSessions();
  await nextAcknowledgements(ledger, 30);
  process.kill(door.product.pid, 'SIGUSR2');
  await waitFor(() => door.product.log.filter(({ msg }) => msg === 'process started').length >= 6, {
    timeoutMs: 60_000,
    what: 'the replaced processes',
  });
  await nextAcknowledgements(ledger, 30);

  await commandsWork(login.env, door.dataDir);
  await queue.drain(60_000);
  const report = await audit({ ledger, databaseUrl: login.url(), objectsDir: door.objectsDir });
  t.diagnostic(`${inWords(report)}; heard: ${JSON.stringify(ledger.outcomes())}`);
  assert.deepEqual([report.problems, report.leftovers, queue.complaints], [[], [], []]);
  assert.equal((await fetch(`${door.product.httpUrl}/readyz`)).status, 200);
  await door.product.stop();
  const said = JSON.stringify(door.product.log) + door.product.stderr();
  assert.match(said, /read again from its file/);
  for (const password of login.passwords) assert.ok(!said.includes(password), 'a password is in the log');
}

async function commandsWork(env: Readonly<Record<string, string>>, dataDir: string): Promise<void> {
  const cli = createTestCli({ compose, cwd: dataDir, env: { ...env, DATA_DIR: dataDir } });
  for (const command of [['migrate'], ['org', 'list'], ['messages', 'list'], ['reconcile', '--dry-run']]) {
    const { code, stderr } = await cli.run(...command);
    assert.equal(code, 0, stderr);
  }
  assert.match((await cli.run('doctor', '--json')).stdout, /may do all that is needed/);
}

async function rotatingLogin(t: TestContext, postgres: OwnPostgres, form: 'DATABASE_URL_FILE' | 'PGPASSWORD_FILE') {
  const file = join(await temporaryFolder(t), 'secret');
  const url = new URL(postgres.url);
  /** What the server takes now. */
  const taken = new URL(postgres.url);
  const passwords = [url.password];
  const bare = new URL(postgres.url);
  bare.password = '';
  return {
    env: { [form]: file, ...(form === 'PGPASSWORD_FILE' ? { DATABASE_URL: bare.href } : {}) },
    passwords,
    url: () => taken.href,
    change() {
      url.password = randomBytes(16).toString('hex');
      passwords.push(url.password);
    },
    writeFile: () => writeFile(file, `${form === 'DATABASE_URL_FILE' ? url.href : url.password}\n`),
    async alterRole() {
      await withClient(taken.href, (client) => client.query(`ALTER ROLE ${taken.username} PASSWORD '${url.password}'`));
      taken.password = url.password;
    },
    /** As a failover or an administrator would: everybody has to log in anew. */
    endSessions: () =>
      withClient(taken.href, (client) =>
        client.query(
          `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
           WHERE usename = current_user AND pid <> pg_backend_pid()`,
        ),
      ),
  };
}

async function nextAcknowledgements(ledger: Ledger, count: number): Promise<void> {
  const enough = ledger.acknowledged().length + count;
  await waitFor(() => ledger.acknowledged().length >= enough, { timeoutMs: 60_000, what: `${count} more mails taken` });
}
