/**
 * Writes what the documents repeat from the code: `.env.example`, and in README.md the tables between
 * `<!-- settings:begin -->` and `<!-- settings:end -->`, likewise `commands`.
 * With `--check` nothing is written; exit 1 names what differs.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { commandsTable } from '../src/cli/document.ts';
import { envExample, settingsTable } from '../src/config/document.ts';
import { scriptCommand } from './script-command.ts';

interface GeneratedFile {
  readonly name: string;
  readonly generate: (current: string) => string;
}

const files: readonly GeneratedFile[] = [
  { name: '.env.example', generate: envExample },
  {
    name: 'README.md',
    generate: (current) => between(between(current, 'settings', settingsTable()), 'commands', commandsTable()),
  },
];

/** Errors: throws when the markers are not there exactly once each, in order. */
function between(text: string, marker: string, content: string): string {
  const pattern = new RegExp(`(<!-- ${marker}:begin -->)[\\s\\S]*?(<!-- ${marker}:end -->)`, 'g');
  if (text.match(pattern)?.length !== 1) {
    throw new Error(`needs one <!-- ${marker}:begin --> followed by one <!-- ${marker}:end -->`);
  }
  return text.replace(pattern, (_, begin: string, end: string) => `${begin}\n\n${content}\n\n${end}`);
}

function currentText(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return '';
    throw error;
  }
}

const options = scriptCommand('docs', 'writes the parts of the documentation that are told by the code')
  .option('--check', 'only look, and end with 1 where they differ')
  .option('--root <folder>', 'of the project', join(import.meta.dirname, '..'))
  .parse()
  .opts<{ readonly check?: true; readonly root: string }>();

for (const { name, generate } of files) {
  const path = join(options.root, name);
  const current = currentText(path);
  try {
    const wanted = generate(current);
    if (wanted === current) continue;
    if (options.check) {
      console.error(`${name} differs from the code: run node scripts/generate-docs.ts`);
      process.exitCode = 1;
    } else {
      writeFileSync(path, wanted);
      console.error(`${name} written`);
    }
  } catch (error) {
    console.error(`${name}: ${(error as Error).message}`);
    process.exitCode = 1;
  }
}
