/** A Postfix that hands our mail on, configured as the page says. */
import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { startPostfix } from '../specification/support/postfix.ts';
import { run } from '../specification/support/programs.ts';
import { exampleOf, replaced } from './page.ts';
import type { Relay } from './relay-suite.ts';

const ALIAS_SECTION = 'Buyers who can only mail orders@company';

export async function startRelayingPostfix(t: TestContext, ingestPort: number): Promise<Relay> {
  const { port, folder } = await startPostfix(t, {
    // What the company's own Postfix has already.
    settings: ['virtual_alias_domains = company.example'],
    prepare: async (etc) => {
      const here = { '/etc/postfix': etc };
      await writeFile(join(etc, 'transport'), replaced(exampleOf('Postfix', 1), { ':2525': `:${ingestPort}` }));
      await writeFile(join(etc, 'orders_access'), exampleOf('Postfix', 2));
      await writeFile(join(etc, 'virtual'), exampleOf(ALIAS_SECTION, 0));
      return [
        replaced(exampleOf('Postfix', 0), here),
        replaced('virtual_alias_maps = hash:/etc/postfix/virtual', here),
      ];
    },
  });
  await shell(replaced(exampleOf('Postfix', 3), { '/etc/postfix': folder }), folder);
  await shell(`postmap ${folder}/virtual`, folder);
  return {
    port,
    flush: () => shell('postqueue -f', folder),
    queued: async () => (await shell('postqueue -j', folder)).split('\n').filter((line) => line !== '').length,
  };
}

/** As it is typed, but for the folder that the programs are told. */
async function shell(commands: string, folder: string): Promise<string> {
  const told = commands.replaceAll(/^(postmap|postfix|postqueue) /gm, `$1 -c ${folder} `);
  const { code, stdout, stderr } = await run('sh', ['-euc', `PATH=/usr/sbin:$PATH\n${told}`]);
  assert.equal(code, 0, stderr);
  return stdout.toString();
}
