/** What a library prints in the running product; a preloaded script stands for the library. */
import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { createTestDatabase } from '../testing/database.ts';
import { startProduct } from '../testing/product.ts';
import { temporaryFolder } from '../testing/temporary-folder.ts';
import { waitFor } from '../testing/wait-for.ts';

test('a library that prints to the console, in any process, is a line of the log and nothing on standard error', async (t) => {
  const database = await createTestDatabase();
  t.after(() => database.close());
  const dataDir = await temporaryFolder(t);
  const library = join(dataDir, 'library.cjs');
  await writeFile(library, `process.on('SIGWINCH', () => console.trace(new Error('pool of ' + process.pid)));`);
  const env = { DATABASE_URL: database.url, NODE_OPTIONS: `--require=${library}` };
  const product = await startProduct(t, { dataDir, env, args: ['--processes', '2'] });
  const banner = product.stderr();
  const pids = new Set([...product.log.map(({ pid }) => Number(pid)), product.pid]);
  assert.equal(pids.size, 4, 'the first process, two for mail, one for jobs');
  for (const pid of pids) process.kill(pid, 'SIGWINCH');
  const printed = () => product.log.filter(({ msg }) => msg === 'a library printed to the console');
  await waitFor(() => printed().length === pids.size, { what: 'a line of each process' });
  for (const { level, console: method, text, pid } of printed())
    assert.deepEqual([level, method, text], ['warn', 'trace', `Error: pool of ${pid}`]);
  assert.equal(product.stderr(), banner);
  await product.stop();
});
