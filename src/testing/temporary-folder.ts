import { chmod, mkdtemp, realpath, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { cleanUp } from './clean-up.ts';

/** A new folder, removed after the test. */
export async function temporaryFolder(t: TestContext): Promise<string> {
  const folder = await makeTemporaryFolder();
  cleanUp(t, () => removeFolder(folder));
  return folder;
}

/** For what is not a test; the caller removes it. */
export async function makeTemporaryFolder(): Promise<string> {
  const folder = await realpath(await mkdtemp(join(tmpdir(), 'orderflow-test-')));
  // When root runs the tests, the embedded PostgreSQL runs as another user, who has to get through.
  await chmod(folder, 0o711);
  return folder;
}

export async function removeFolder(folder: string): Promise<void> {
  await rm(folder, { recursive: true, force: true, maxRetries: 5 });
}
