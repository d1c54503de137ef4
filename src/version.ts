import { readFileSync } from 'node:fs';

/** Of the program, as `--version` prints it. Also true of what is built: `dist/` stands where `src/` stands. */
export function version(): string {
  const text = readFileSync(new URL('../package.json', import.meta.url), 'utf8');
  return (JSON.parse(text) as { version: string }).version;
}
