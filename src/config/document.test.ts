import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseEnv } from 'node:util';
import { definitions, settingNames } from './definition.ts';
import { envExample, settingsTable } from './document.ts';
import { loadSettings } from './load.ts';

test('the example file sets nothing, and with every default uncommented changes nothing', () => {
  const load = (file: string) => loadSettings({ env: {}, cwd: '/srv', readEnvFile: () => file });
  assert.deepEqual(Object.keys(parseEnv(envExample())), []);
  const uncommented = settingNames
    .filter((name) => definitions[name].fallback !== null)
    .map((name) => new RegExp(`^#(${name}=.*)$`, 'm').exec(envExample())?.[1] ?? assert.fail(name))
    .join('\n');
  assert.deepEqual(load(uncommented), load(''));
});

test('every example value is of the right form', () => {
  for (const name of settingNames) {
    const { form, example } = definitions[name] as (typeof definitions)['DATABASE_URL'];
    if (example !== undefined) assert.ok(form.safeParse(example).success, `${name}=${example}`);
  }
});

test('the table has one row of three cells for every setting', () => {
  const rows = settingsTable().split('\n').slice(2);
  assert.equal(rows.length, settingNames.length);
  for (const [index, row] of rows.entries()) {
    assert.ok(row.startsWith(`| \`${settingNames[index]}\` | `));
    assert.equal(row.split(' | ').length, 3, row);
  }
});
