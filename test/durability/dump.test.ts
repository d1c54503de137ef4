/** A dump, restored as docs/operations.md says: on a new server of the operator's, and into an embedded one. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { readFile, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { promisify } from 'node:util';
import { createTestCli } from '../../src/cli/test-context.ts';
import * as compose from '../../src/compose/index.ts';
import { bareEnvironment } from '../../src/testing/environment.ts';
import { missing } from '../../src/testing/missing.ts';
import { startProduct } from '../../src/testing/product.ts';
import { temporaryFolder } from '../../src/testing/temporary-folder.ts';
import { waitFor } from '../../src/testing/wait-for.ts';
import { as, newServer } from '../deployment/new-server.ts';
import { backUpObjects } from './backup.ts';
import { sendOrder } from './failover.ts';
import { openFrontDoor, withClient } from './front-door.ts';
import { binaries, startReplicated, whyNoStandby } from './standby.ts';

const TIMEOUT_MS = 180_000;
const MAILS = 3;
const page = await readFile(join(import.meta.dirname, '../../docs/operations.md'), 'utf8');
const ROLES = /`(CREATE ROLE orderflow_tenant NOLOGIN; CREATE ROLE .*?)`/.exec(page)?.[1] ?? '';

interface Dump {
  readonly dumpFile: string;
  readonly objects: string;
}

/** Nobody reads the mails: their jobs are in the dump. */
async function takeDump(t: TestContext): Promise<Dump> {
  const { primary } = await startReplicated(t);
  const door = await openFrontDoor(t, { databaseUrl: primary.url, args: ['--roles', 'smtp,http'] });
  for (let mail = 0; mail < MAILS; mail++) assert.equal(await sendOrder(door.port), 250);
  const folder = await temporaryFolder(t);
  const [dumpFile, objects] = [join(folder, 'dump'), join(folder, 'objects')];
  await pg('pg_dump', '-Fc', '-f', dumpFile, '-d', primary.url);
  await backUpObjects({ objectsDir: door.objectsDir, to: objects });
  await door.product.stop();
  return { dumpFile, objects };
}

async function pg(program: string, ...args: readonly string[]): Promise<void> {
  await promisify(execFile)(join(binaries() ?? '', program), args, { env: { ...bareEnvironment(), LC_ALL: 'C' } });
}

/** Started on what was restored: the jobs that waited are taken up, and every object is what its row says. */
async function assertWhole(t: TestContext, dataDir: string, databaseUrl?: string): Promise<void> {
  const env = databaseUrl === undefined ? {} : { DATABASE_URL: databaseUrl };
  const product = await startProduct(t, { dataDir, env });
  await waitFor(
    () =>
      withClient(product.databaseUrl, async (client) => {
        const { rows } =
          await client.query(`SELECT (SELECT count(*)::int FROM document WHERE status = 'STORED') AS documents,
          (SELECT count(*)::int FROM inbound_message WHERE status = 'PARSED') AS parsed`);
        assert.deepEqual(rows, [{ documents: MAILS, parsed: MAILS }]);
        return true;
      }),
    { timeoutMs: 60_000, what: 'the jobs that waited' },
  );
  const cli = createTestCli({ compose, cwd: dataDir, env: { DATA_DIR: dataDir, DATABASE_URL: product.databaseUrl } });
  const { code, stdout } = await cli.run('reconcile', '--verify');
  assert.equal(code, 0, stdout);
  await product.stop();
}

test('a dump is restored on a new server, with the roles that the page has made first', {
  timeout: TIMEOUT_MS,
}, async (t) => {
  const why = whyNoStandby();
  if (why !== null) return missing(t, 'pg_dump', why);
  const { dumpFile, objects } = await takeDump(t);
  const superuser = await newServer(t);
  await withClient(superuser, async (client) => {
    await client.query(`CREATE ROLE mail LOGIN PASSWORD 'change-me'`);
    await client.query('CREATE DATABASE mail OWNER mail');
  });
  const url = as(superuser, 'mail', 'mail');
  await assert.rejects(pg('pg_restore', '--no-owner', '-d', url, dumpFile), /role "orderflow_tenant" does not exist/);
  await withClient(superuser, async (client) => {
    await client.query('DROP DATABASE mail');
    await client.query('CREATE DATABASE mail OWNER mail');
    await client.query(ROLES.replace('<the login>', 'mail'));
  });
  await pg('pg_restore', '--no-owner', '-d', url, dumpFile);
  const dataDir = await temporaryFolder(t);
  await rename(objects, join(dataDir, 'objects'));
  await assertWhole(t, dataDir, url);
});

test('a dump is restored into the embedded database', { timeout: TIMEOUT_MS }, async (t) => {
  const why = whyNoStandby();
  if (why !== null) return missing(t, 'pg_dump', why);
  const { dumpFile, objects } = await takeDump(t);
  const dataDir = await temporaryFolder(t);
  const fresh = await startProduct(t, { dataDir, args: ['--roles', 'http'] });
  const url = fresh.databaseUrl;
  await withClient(url.replace(/\/orderflow\b/, '/postgres'), async (client) => {
    await client.query('DROP DATABASE orderflow WITH (FORCE)');
    await client.query('CREATE DATABASE orderflow');
  });
  await pg('pg_restore', '-d', url, dumpFile);
  await fresh.stop();
  await rm(join(dataDir, 'objects'), { recursive: true });
  await rename(objects, join(dataDir, 'objects'));
  await assertWhole(t, dataDir);
});
