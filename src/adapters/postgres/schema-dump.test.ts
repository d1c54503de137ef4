import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { it } from 'node:test';
import { openTestPool } from '../../testing/postgres-fixtures.ts';
import { dumpSchema } from './schema-dump.ts';

const FILE = new URL('../../../docs/schema.sql', import.meta.url);

/** `npm run schema` writes the file anew. */
it('docs/schema.sql is what the migrations amount to', async (t) => {
  const { pool } = await openTestPool(t);
  const dumped = await dumpSchema(pool);
  if (process.env.UPDATE_SCHEMA === '1') await writeFile(FILE, dumped);
  assert.equal(await readFile(FILE, 'utf8'), dumped);
});
