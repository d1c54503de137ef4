/** How a login from a file gets into a URL; that PostgreSQL takes it is for test/durability/rotated-secrets.test.ts. */
import assert from 'node:assert/strict';
import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import pg from 'pg';
import type { RenewableUrl } from '../../ports/renewable-url.ts';
import { recordingLog } from '../../testing/recording-log.ts';
import { temporaryFolder } from '../../testing/temporary-folder.ts';
import { openLogin } from './login.ts';

const PASSWORD = "p@ss %41:/?#'";

async function loginOf(t: TestContext, url: string, holds: 'url' | 'password') {
  const file = join(await temporaryFolder(t), 'secret');
  const { log, whole } = recordingLog();
  const login = openLogin({ url, secret: { file, holds }, log }) as RenewableUrl;
  /** Refused as long as the URL does not satisfy. Shape: those it was tried with. */
  const connect = async (satisfies: (url: string) => boolean): Promise<readonly string[]> => {
    const tried: string[] = [];
    await login.connecting(async (given) => {
      tried.push(given);
      if (!satisfies(given)) throw refused();
    });
    return tried;
  };
  return { login, connect, write: (text: string) => writeFile(file, text), remove: () => rm(file), log: whole };
}

const refused = (): pg.DatabaseError =>
  Object.assign(new pg.DatabaseError('password authentication failed', 1, 'error'), { code: '28P01' });

test('user name and password of the new URL are taken as the driver reads them, and nothing else of it', async (t) => {
  const before = 'postgresql://app:old@db.example.com:5433/orders?sslmode=verify-full&options=-c%20a%3Db';
  const { login, connect, write } = await loginOf(t, before, 'url');
  await write(`postgresql://app2:${encodeURIComponent(PASSWORD)}@elsewhere.example.com:1/others\n`);
  const tried = await connect((url) => url.includes('app2'));
  assert.deepEqual(tried, [before, login.current]);
  const { user, password, host, port, database } = new pg.Client(login.current);
  assert.deepEqual([user, password, host, port, database], ['app2', PASSWORD, 'db.example.com', 5433, 'orders']);
  assert.deepEqual(await connect(() => true), [login.current]);
});

test('a password alone is taken as it is written', async (t) => {
  const { login, connect, write } = await loginOf(t, 'postgresql://app:old@db/orders', 'password');
  await write(`${PASSWORD}\n`);
  await connect((url) => !url.includes('old'));
  assert.equal(new pg.Client(login.current).password, PASSWORD);
});

test('they may stand behind the ?, as those of a socket do', async (t) => {
  for (const [holds, text] of [
    ['url', `postgresql:///orders?host=/run/postgresql&user=app2&password=${encodeURIComponent(PASSWORD)}`],
    ['password', PASSWORD],
  ] as const) {
    const before = 'postgresql:///orders?host=/run/postgresql&user=app2&password=old';
    const { login, connect, write } = await loginOf(t, before, holds);
    await write(text);
    await connect((url) => !url.includes('old'));
    const { user, password, host, database } = new pg.Client(login.current);
    assert.deepEqual([user, password, host, database], ['app2', PASSWORD, '/run/postgresql', 'orders']);
  }
});

test('the file is asked at a refusal alone, and once for all who were refused', async (t) => {
  const { login, connect, write } = await loginOf(t, 'postgresql://app:old@db/orders', 'url');
  await write('postgresql://app:new@db/orders');
  await assert.rejects(
    login.connecting(() => Promise.reject(new Error('the network is away'))),
    /network/,
  );
  assert.match(login.current, /old/);
  const all = await Promise.all(Array.from({ length: 5 }, () => connect((url) => url.includes('new'))));
  assert.ok(all.every(({ length }) => length === 2));
  await assert.rejects(
    connect(() => false),
    /password authentication failed/,
  );
});

test('a file that says nothing new, or cannot be read, leaves the refusal as it is; no text of it is logged', async (t) => {
  const before = 'postgresql://app:old@db/orders?host=/run/x';
  const { login, connect, write, remove, log } = await loginOf(t, before, 'url');
  for (const text of [before, `${before}\n`, '', 'hunter2', 'hunter2\nhunter3']) {
    await write(text);
    for (let refusal = 0; refusal < 2; refusal++) {
      await assert.rejects(
        connect(() => false),
        /password authentication failed/,
      );
    }
    assert.equal(login.current, before);
  }
  await remove();
  await assert.rejects(
    connect(() => false),
    /password authentication failed/,
  );
  assert.equal(log.length, 4, 'each reason once');
  assert.match(log.join(''), /is empty.*holds no URL.*more than one line.*is not there/s);
  assert.doesNotMatch(log.join(''), /hunter|:old@/);
});
