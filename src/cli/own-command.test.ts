import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ownCommand } from './own-command.ts';

const clone = '/srv/clone/bin/orderflow-ingest.cjs';
const of = (env: Readonly<Record<string, string>>, calledAs: string, ...there: readonly string[]) =>
  ownCommand({ env, calledAs, exists: (path) => there.includes(path) });

test('in a clone a command is an npm script', () => {
  const npm = {
    npm_lifecycle_event: 'start',
    npm_package_name: 'orderflow-ingest',
    PATH: '/srv/clone/node_modules/.bin',
  };
  assert.equal(of(npm, clone, '/srv/clone/node_modules/.bin/orderflow-ingest'), 'npm run -s cli --');
});

test('of a package in a folder npx finds it, also when a script of that folder starts it', () => {
  const path = '/srv/orders/node_modules/.bin/orderflow-ingest';
  const npx = { npm_lifecycle_event: 'npx', PATH: '/srv/orders/node_modules/.bin:/usr/bin' };
  assert.equal(of(npx, path, path), 'npx orderflow-ingest');
  assert.equal(
    of({ ...npx, npm_lifecycle_event: 'start', npm_package_name: 'orders' }, path, path),
    'npx orderflow-ingest',
  );
  assert.equal(of({ ...npx, npm_package_name: 'orderflow-ingest' }, clone), 'npx orderflow-ingest');
});

test('what the shell finds is called by its name, by whatever path it was started', () => {
  const installed = '/usr/local/bin/orderflow-ingest';
  const env = { PATH: '/usr/bin:/usr/local/bin' };
  assert.equal(of(env, installed, installed), 'orderflow-ingest');
  assert.equal(of(env, '/opt/orderflow-ingest/bin/orderflow-ingest.cjs', installed), 'orderflow-ingest');
});

test('otherwise it is the path that it was started by, so that it can be pasted', () => {
  assert.equal(of({ PATH: '/usr/bin' }, clone), `node ${clone}`);
  assert.equal(of({}, '/opt/x/node_modules/.bin/orderflow-ingest'), '/opt/x/node_modules/.bin/orderflow-ingest');
  assert.equal(
    of({}, "/srv/o'hara's clone/orderflow-ingest.cjs"),
    "node '/srv/o'\\''hara'\\''s clone/orderflow-ingest.cjs'",
  );
});
