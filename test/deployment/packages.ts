/** Development packages without types, by what is used of them. Shape: null when one is not installed. */
import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import type { TestContext } from 'node:test';
import { missing } from '../../src/testing/missing.ts';

const require = createRequire(import.meta.url);

export function loadPackage<T>(t: TestContext, name: string): T | null {
  try {
    return require(name) as T;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'MODULE_NOT_FOUND') throw error;
    missing(t, name, 'npm ci');
    return null;
  }
}

const yaml = require('js-yaml') as { loadAll(text: string): readonly unknown[] };

/** Every document of a YAML file. Errors: those of the parser, which refuses a key that stands twice. */
export async function readYaml(path: string): Promise<readonly unknown[]> {
  return yaml.loadAll(await readFile(path, 'utf8'));
}

export const parseYaml = (text: string): readonly unknown[] => yaml.loadAll(text);
