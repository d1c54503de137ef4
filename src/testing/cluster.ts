/** The PostgreSQL that a test run works on, kept by a process of its own (see cluster-keeper.ts). */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

export interface TestCluster {
  /** The migrated database that is cloned for each test. Nobody may be connected to it while it is cloned. */
  readonly templateUrl: string;
  /** Resolves when the server has stopped and its folder is gone. */
  close(): Promise<void>;
}

/**
 * Owns: does not keep the calling process alive; when that ends without `close`, the cluster ends too.
 * Errors: rejects with what the cluster or the migration said.
 */
export async function startTestCluster(): Promise<TestCluster> {
  const script = fileURLToPath(new URL('./cluster-keeper.ts', import.meta.url));
  // A session of its own: Ctrl-C must not reach it before the tests have ended.
  const keeper = spawn(process.execPath, [script], { detached: true, stdio: ['pipe', 'pipe', 'pipe'] });
  const exited = once(keeper, 'exit');
  let complaints = '';
  keeper.stderr.setEncoding('utf8').on('data', (text: string) => {
    complaints += text;
  });
  const lines = createInterface({ input: keeper.stdout });
  const [line] = await Promise.race([once(lines, 'line'), once(lines, 'close').then(() => [''])]);
  const answer: { url?: string; error?: string } = line ? JSON.parse(line) : {};
  if (!answer.url) {
    await exited;
    throw new Error(`no test database: ${answer.error ?? complaints.trim()}`);
  }
  for (const part of [keeper, keeper.stdin, keeper.stdout, keeper.stderr])
    if ('unref' in part) (part as Unrefable).unref();
  return {
    templateUrl: answer.url,
    close: async () => {
      keeper.ref();
      keeper.stdin.end();
      await exited;
    },
  };
}

interface Unrefable {
  unref(): void;
}
