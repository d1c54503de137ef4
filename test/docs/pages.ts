/** README.md and the pages under docs/, and the tests that hold what they say. */
import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

export const ROOT = join(import.meta.dirname, '../..');

/** A test, by the beginning of its title as it stands in the source; `…` is what a template puts in. */
export interface Holder {
  readonly file: string;
  readonly title: string;
}

/** Shape: paths from the root of the repository. */
export const pages: readonly string[] = [
  'README.md',
  ...readdirSync(join(ROOT, 'docs'), { recursive: true })
    .map((name) => `docs/${String(name).replaceAll('\\', '/')}`)
    .filter((name) => name.endsWith('.md')),
];

export const textOf = (path: string): string => readFileSync(join(ROOT, path), 'utf8');

/** Code blocks are no text: a `#` in one begins a comment. */
export function headingsOf(page: string): readonly string[] {
  const text = textOf(page).replaceAll(/^```.*?^```$/gms, '');
  return [...text.matchAll(/^#+ (.+)$/gm)].map(([, heading = '']) => heading);
}

export function assertHolds({ file, title }: Holder): void {
  assert.ok(existsSync(join(ROOT, file)), `${file} is there`);
  const beginning = title.split('…').map(RegExp.escape).join('\\$\\{.*?\\}');
  assert.match(textOf(file), new RegExp(`['"\`]${beginning}`), `${file} has a test "${title} …"`);
}
