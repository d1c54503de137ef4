/** docs/receiving.md, whose configurations the tests take as they stand there. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';

const PAGE = readFileSync(join(import.meta.dirname, '../../docs/receiving.md'), 'utf8');

/** The page's names: the domain of the orders, and the company's own. */
export const ORDERS_DOMAIN = 'orders.company.example';
export const COMPANY_ALIAS = 'orders@company.example';

/** The n-th example below a heading. */
export function exampleOf(heading: string, index = 0): string {
  // A line of an example may begin with a single one.
  const section = PAGE.split(/^##+ /m).find((text) => text.startsWith(`${heading}\n`));
  const examples = [...(section ?? '').matchAll(/^```\w*\n(.*?)^```$/gms)].map(([, text = '']) => text);
  const example = examples[index];
  assert.ok(example !== undefined, `docs/receiving.md has example ${index} below "${heading}"`);
  return example;
}

/** Each at least once. */
export function replaced(text: string, replacements: Readonly<Record<string, string>>): string {
  return Object.entries(replacements).reduce((changed, [what, by]) => {
    assert.ok(changed.includes(what), `"${what}" is in the example\n${text}`);
    return changed.replaceAll(what, by);
  }, text);
}
