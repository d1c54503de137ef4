import assert from 'node:assert/strict';
import { test } from 'node:test';
import { loadSettings } from '../config/load.ts';
import { planProcesses, shareOf } from './plan.ts';

test('one process runs all its roles itself', () => {
  for (const roles of [['smtp', 'worker', 'http'], ['worker'], ['http']] as const)
    assert.deepEqual(planProcesses(roles, 1), { here: roles, children: [] });
});

test('of several, each takes mail or reads it, and the first answers HTTP', () => {
  const { here, children } = planProcesses(['smtp', 'worker', 'http'], 2);
  assert.deepEqual(here, ['http']);
  assert.deepEqual(children, [
    { name: 'smtp-1', roles: ['smtp'] },
    { name: 'smtp-2', roles: ['smtp'] },
    { name: 'worker', roles: ['worker'] },
  ]);
  assert.deepEqual(
    planProcesses(['smtp'], 3).children.map(({ name }) => name),
    ['smtp-1', 'smtp-2', 'smtp-3'],
  );
});

test('connections and their memory are divided, and no share is nothing', () => {
  const loaded = loadSettings({
    env: { SMTP_MAX_CONNECTIONS: '5', SMTP_MAX_CONNECTIONS_PER_ADDRESS: '3' },
    cwd: '/',
    readEnvFile: () => null,
  });
  assert.ok('settings' in loaded);
  assert.equal(shareOf(loaded.settings, 2).smtp.maxConnections, 3);
  assert.equal(shareOf(loaded.settings, 2).smtp.maxConnectionsPerAddress, 2);
  assert.equal(shareOf(loaded.settings, 2).smtp.maxHeldBytes, loaded.settings.smtp.maxHeldBytes / 2);
  assert.equal(shareOf(loaded.settings, 64).smtp.maxConnections, 1);
  assert.equal(shareOf(loaded.settings, 64).smtp.maxConnectionsPerAddress, 1);
});
