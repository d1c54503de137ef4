import type { TestContext } from 'node:test';
import { onCi } from './environment.ts';

const told = new Set<string>();

/**
 * For a test whose real counterpart (redis, s3, swaks, …) is not on this machine: `return missing(t, 'swaks', 'apt
 * install swaks')`. Skips it and says so once per file; on CI, where everything is installed, it fails instead.
 */
export function missing(t: TestContext, part: string, why: string): void {
  if (onCi()) throw new Error(`${part} is missing on CI: ${why}`);
  if (!told.has(part)) console.log(`# skipped for want of ${part}: ${why}`);
  told.add(part);
  t.skip(`${part} is missing: ${why}`);
}
