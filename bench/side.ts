/** What mails are sent to: the product or a peer; and, for the product, whether its books agree with the replies. */
import { setTimeout as sleep } from 'node:timers/promises';
import { connectSmtp } from '../src/testing/smtp-client.ts';
import { type BenchDatabase, type Counts, openBenchDatabase } from './database.ts';
import { type Peer, type ProductRoles, UsageError } from './options.ts';
import { listenersOn } from './proc.ts';
import { startProduct } from './product.ts';
import { untilQuiet } from './usage.ts';

export interface Side {
  readonly name: string;
  readonly isPeer: boolean;
  readonly host: string;
  readonly port: number;
  /** Empty where its processes cannot be seen, as on another machine. */
  readonly rootPids: readonly number[];
  /** null for a peer: its books are its own. */
  readonly database: BenchDatabase | null;
  /** Lets it finish what it still does for mails it has taken, so that it does not disturb the next turn. */
  settle(): Promise<void>;
  close(): Promise<void>;
}

export async function openProductSide(o: {
  readonly dataDir: string;
  readonly roles: ProductRoles;
  readonly processes: number;
  readonly env: Readonly<Record<string, string>>;
  readonly cpuProfileDir: string | null;
}): Promise<Side> {
  const product = await startProduct({ ...o, roles: o.roles === 'all' ? null : o.roles });
  const database = await openBenchDatabase(product.databaseUrl).catch(async (error: unknown) => {
    await product.stop();
    throw error;
  });
  return {
    name: o.roles === 'all' ? 'product' : `product (${o.roles} only)`,
    isPeer: false,
    host: '127.0.0.1',
    port: product.smtpPort,
    rootPids: product.rootPids,
    database,
    async settle() {
      if (o.roles === 'all') await database.allFinished();
      await untilQuiet(product.rootPids);
    },
    async close() {
      await database.close();
      await product.stop();
    },
  };
}

const REMOTE_REST_MS = 2_000;

const GREETING_TIMEOUT_MS = 10_000;

/** Errors: UsageError when nobody greets there. */
export async function openPeerSide({ name, host, port }: Peer): Promise<Side> {
  try {
    const client = await connectSmtp({ host, port, timeoutMs: GREETING_TIMEOUT_MS });
    await client.readReply('greeting').finally(client.close);
  } catch (error) {
    throw new UsageError(`the peer ${name} is not there: ${(error as Error).message}`, { cause: error });
  }
  const local = ['127.0.0.1', '::1', 'localhost'].includes(host);
  const rootPids = local ? listenersOn(port) : [];
  return {
    name,
    isPeer: true,
    host,
    port,
    rootPids,
    database: null,
    settle: () => (rootPids.length > 0 ? untilQuiet(rootPids) : sleep(REMOTE_REST_MS)),
    close: async () => {},
  };
}

/** Rows = 250s, and nothing else happened. Shape: one line per disagreement. */
export function disagreements(o: {
  readonly accepted: number;
  readonly replies: Readonly<Record<string, number>>;
  readonly before: Counts;
  readonly after: Counts;
  /** Documents expected of each mail; null when they are not waited for. */
  readonly documentsPerMail: number | null;
}): readonly string[] {
  const { accepted, before, after, documentsPerMail } = o;
  const problems = refusals(o.replies);
  const expect = (what: keyof Counts, expected: number): void => {
    const found = after[what] - before[what];
    if (found !== expected)
      problems.push(`${accepted} mails were answered 250: expected ${expected} ${what}, found ${found}`);
  };
  expect('messages', accepted);
  expect('conflicts', 0);
  expect('failed', 0);
  if (documentsPerMail !== null) {
    expect('parsed', accepted);
    expect('documents', accepted * documentsPerMail);
    expect('documentJobs', accepted * documentsPerMail);
  }
  return problems;
}

export function refusals(replies: Readonly<Record<string, number>>): string[] {
  const others = Object.entries(replies).filter(([code]) => code !== '250');
  return others.length === 0 ? [] : [`not accepted: ${others.map(([code, count]) => `${count} × ${code}`).join(', ')}`];
}
