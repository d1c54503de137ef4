/** What docs/deployment.md has an administrator do: on a new server, by a superuser and by one of a managed PostgreSQL. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import pg from 'pg';
import { bareEnvironment } from '../../src/testing/environment.ts';
import { freePort } from '../../src/testing/free-port.ts';
import { startProduct } from '../../src/testing/product.ts';
import { sendRaw } from '../../src/testing/smtp-client.ts';
import { temporaryFolder } from '../../src/testing/temporary-folder.ts';
import { as, newServer } from './new-server.ts';

const root = join(import.meta.dirname, '../..');
const page = await readFile(join(root, 'docs/deployment.md'), 'utf8');
const lines = (/^```sql\n(CREATE ROLE .*?)^```$/ms.exec(page)?.[1] ?? '').trimEnd().split('\n');
const STEPS = lines.filter((line) => !line.startsWith('--'));
const NO_SUPERUSER = /GRANT .*;/.exec(lines.find((line) => line.startsWith('-- Only')) ?? '')?.[0] ?? '';
/** The page's names are the embedded server's own. */
const named = (sql: string) => sql.replaceAll(/\borderflow\b/g, 'mail').replace(/ --.*/, '');

async function run(url: string, statements: readonly string[]): Promise<void> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    for (const statement of statements) await client.query(named(statement));
  } finally {
    await client.end();
  }
}

/** Shape: exit code and everything that was said. */
async function command(t: TestContext, url: string, ...words: readonly string[]) {
  const dataDir = await temporaryFolder(t);
  const [smtp, http] = await Promise.all([freePort(), freePort()]);
  const settings = { DATABASE_URL: url, DATA_DIR: dataDir, SMTP_PORT: `${smtp}`, HTTP_PORT: `${http}` };
  return await new Promise<{ code: unknown; said: string }>((resolve) => {
    const args = [join(root, 'bin/orderflow-ingest.cjs'), ...words];
    const options = { cwd: dataDir, env: { ...bareEnvironment(), ...settings }, timeout: 60_000 };
    execFile(process.execPath, args, options, (error, stdout, stderr) =>
      resolve({ code: error?.code ?? 0, said: stdout + stderr }),
    );
  });
}

test('the page has the statements', () => {
  assert.equal(STEPS.length, 4);
  assert.match(NO_SUPERUSER, /^GRANT orderflow TO CURRENT_USER;$/);
});

for (const administrator of ['a superuser', 'one who may make roles and databases'] as const) {
  test(`a database that ${administrator} has made as the page says is set up by the start, and takes mail`, async (t) => {
    const superuser = await newServer(t);
    if (administrator === 'a superuser') await run(superuser, STEPS);
    else {
      await run(superuser, ["CREATE ROLE boss LOGIN CREATEROLE CREATEDB PASSWORD 'change-me'"]);
      await run(as(superuser, 'boss', 'postgres'), STEPS.toSpliced(3, 0, NO_SUPERUSER));
    }
    const url = as(superuser, 'mail', 'mail');
    assert.equal((await command(t, url, 'migrate')).code, 0);
    assert.equal((await command(t, url, 'org', 'add', 'acme')).code, 0);
    const product = await startProduct(t, { env: { DATABASE_URL: url }, dataDir: await temporaryFolder(t) });
    const mail = {
      from: 'buyer@customer.example',
      to: ['orders+acme@orderflow.example.com'],
      data: 'Subject: x\r\n\r\n',
    };
    assert.equal((await sendRaw({ port: product.smtpPort, ...mail })).verdict.code, 250);
    await product.stop();
  });
}

test('without one of the statements the start ends, and says which is missing', async (t) => {
  const superuser = await newServer(t);
  const url = as(superuser, 'mail', 'mail');
  const [login = '', tenant = '', grant = '', database = ''] = STEPS;
  const refused = async (words: RegExp) => {
    const { code, said } = await command(t, url, 'start');
    assert.equal(code, 1, said);
    assert.match(said, words);
    assert.doesNotMatch(said, /\n\s+at /);
  };
  await run(superuser, [login]);
  await refused(/database "mail", does not exist on that server: create it first/);
  await run(superuser, [database.replace('OWNER orderflow ', '')]);
  await refused(/may not make tables.*ALTER DATABASE "mail" OWNER TO "mail"/);
  await run(superuser, ['ALTER DATABASE "mail" OWNER TO "mail"']);
  await refused(/CREATE ROLE orderflow_tenant NOLOGIN; GRANT orderflow_tenant TO "mail"/);
  await run(superuser, [tenant]);
  await refused(/may not take the role orderflow_tenant.*GRANT orderflow_tenant TO "mail"/);
  await run(superuser, [grant]);
  const doctor = await command(t, url, 'doctor');
  assert.match(doctor.said, /schema .*not set up yet: run `migrate`/);
  assert.doesNotMatch(doctor.said, /^broken/m);
  const list = await command(t, url, 'org', 'list');
  assert.deepEqual(list, { code: 1, said: 'error: the database is not set up yet: run `migrate`\n' });
  assert.equal((await command(t, url, 'migrate')).code, 0);
});
