/** For tests of the commands: a context whose output can be read, and a toolbox that lives in memory. */
import { Writable } from 'node:stream';
import type { DocumentSummary, MessageView } from '../ports/message-view.ts';
import { type ObjectStore, StoreError } from '../ports/object-store.ts';
import type { BlockedSender, Organisation } from '../ports/organisations.ts';
import type { CliContext, Compose, Toolbox } from './context.ts';
import { createOutput } from './output.ts';
import { runCli } from './program.ts';

export interface TestCli {
  run(...args: string[]): Promise<{ code: number; stdout: string; stderr: string; bytes: Buffer }>;
  signal(name: NodeJS.Signals): void;
  /** SIGHUP. Shape: how many listened. */
  hangUp(): number;
  readonly exits: readonly number[];
}

export interface TestCliOptions {
  readonly compose?: Partial<Compose>;
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd?: string;
  readonly terminal?: boolean;
  readonly followDeadlineMs?: number;
  readonly scheduleAsBatch?: () => Promise<boolean>;
}

export class TestStartError extends Error {}
export class TestNoDatabaseError extends TestStartError {}

export function createTestCli(options: TestCliOptions = {}): TestCli {
  const handlers = new Set<(signal: NodeJS.Signals) => void>();
  const reloads = new Set<() => void>();
  const exits: number[] = [];
  return {
    exits,
    signal: (name) => {
      for (const handler of handlers) handler(name);
    },
    hangUp() {
      for (const handler of reloads) handler();
      return reloads.size;
    },
    async run(...args) {
      const [out, err] = [collector(options.terminal), collector(options.terminal)];
      const context: CliContext = {
        env: options.env ?? {},
        cwd: options.cwd ?? '/nonexistent',
        ownCommand: 'orderflow-ingest',
        out: createOutput(out.stream),
        err: createOutput(err.stream),
        loadCompose: async () => ({ ...noCompose, ...errors, ...options.compose }),
        onSignal: (handler) => {
          handlers.add(handler);
          return () => handlers.delete(handler);
        },
        onReload: (handler) => {
          reloads.add(handler);
          return () => reloads.delete(handler);
        },
        onReplace: () => () => {},
        scheduleAsBatch: options.scheduleAsBatch ?? (async () => false),
        exitNow: (code) => exits.push(code),
        followDeadlineMs: options.followDeadlineMs ?? 5_000,
      };
      const code = await runCli(args, context);
      return { code, stdout: out.bytes().toString(), stderr: err.bytes().toString(), bytes: out.bytes() };
    },
  };
}

const notExpected = (): Promise<never> => Promise.reject(new Error('the test does not expect this call'));
const errors = { StartError: TestStartError, NoDatabaseError: TestNoDatabaseError };
const noCompose = {
  openToolbox: notExpected,
  migrate: notExpected,
  startServer: notExpected,
  startPart: notExpected,
  openReconciler: notExpected,
  openVerifier: notExpected,
  examine: notExpected,
  examineHost: notExpected,
};

function collector(terminal = false) {
  const chunks: Buffer[] = [];
  const stream = new Writable({
    write(chunk: Buffer, _encoding, done) {
      chunks.push(chunk);
      done();
    },
  });
  return { stream: Object.assign(stream, { isTTY: terminal }), bytes: () => Buffer.concat(chunks) };
}

export interface MemoryToolbox extends Toolbox {
  readonly closed: boolean;
}

export function createMemoryToolbox(
  content: {
    messages?: readonly MessageView[];
    documents?: readonly DocumentSummary[];
    objects?: ReadonlyMap<string, Uint8Array>;
  } = {},
): MemoryToolbox {
  const all: Organisation[] = [];
  let blocked: BlockedSender[] = [];
  let closed = false;
  const same = (one: BlockedSender, pattern: string, orgId: string | null): boolean =>
    one.pattern === pattern && one.orgId === orgId;
  return {
    get closed() {
      return closed;
    },
    organisations: {
      add: async (slug, name) => {
        if (all.some((one) => one.slug === slug)) return { problem: 'slug-taken' };
        const added = { id: crypto.randomUUID(), slug, name, disabled: false };
        all.push(added);
        return added;
      },
      list: async () => all,
      findBySlug: async (slug) => all.find((one) => one.slug === slug) ?? null,
    },
    blockList: {
      block: async (pattern, orgId) => {
        if (blocked.some((one) => same(one, pattern, orgId))) return false;
        const orgSlug = all.find(({ id }) => id === orgId)?.slug ?? null;
        blocked.push({ pattern, orgId, orgSlug, createdAt: new Date(0) });
        return true;
      },
      unblock: async (pattern, orgId) => {
        const before = blocked.length;
        blocked = blocked.filter((one) => !same(one, pattern, orgId));
        return blocked.length < before;
      },
      listBlocked: async () => blocked,
      blockedBy: async () => new Set<string | null>(),
    },
    messages: {
      listMessages: async ({ orgId, status, limit }) =>
        (content.messages ?? [])
          .filter(
            (one) => (orgId === undefined || one.orgId === orgId) && (status === undefined || one.status === status),
          )
          .slice(0, limit),
      findMessage: async (id) => (content.messages ?? []).find((one) => one.id === id) ?? null,
      listDocuments: async ({ limit }) => (content.documents ?? []).slice(0, limit),
      findDocument: async (id) => (content.documents ?? []).find((one) => one.id === id) ?? null,
    },
    retries: { retry: notExpected },
    jobs: { document: notExpected, storedBefore: notExpected },
    objects: { ...noStore, get: async (key) => chunksOf(content.objects?.get(key), key) },
    close: async () => {
      closed = true;
    },
  };
}

const noStore: ObjectStore = {
  put: notExpected,
  get: notExpected,
  head: notExpected,
  copy: notExpected,
  remove: notExpected,
  check: notExpected,
  list: () => {
    throw new Error('the test does not expect this call');
  },
};

/** In uneven pieces, so that a character of several bytes is cut. */
function chunksOf(bytes: Uint8Array | undefined, key: string): AsyncIterable<Uint8Array> {
  if (bytes === undefined) throw new StoreError('object-missing', key);
  return (async function* () {
    for (let at = 0; at < bytes.length; at += 7) yield bytes.subarray(at, at + 7);
  })();
}

export function messageView(facts: Partial<MessageView> = {}): MessageView {
  return {
    id: '01890a5d-ac96-774b-bcce-b302099a8057',
    orgId: '01890a5d-0000-7000-8000-000000000001',
    orgSlug: 'acme',
    status: 'PARSED',
    conflictWith: null,
    sourceMessageId: '<1@example.com>',
    fromEmail: 'buyer@example.com',
    toEmail: 'orders+acme@orderflow.example.com',
    subject: 'Order 1',
    receivedAt: new Date('2026-01-02T03:04:05Z'),
    sizeBytes: 1234,
    documentCount: 0,
    notes: [],
    traceId: 'trace-1',
    rawStorageKey: 'org/2026/01/raw.eml',
    rawSha256: 'aa',
    contentSha256: 'bb',
    messageIdSynthetic: false,
    headerFrom: 'Buyer <buyer@example.com>',
    headerTo: null,
    headerDate: null,
    remoteAddress: '127.0.0.1',
    heloName: 'client.example.com',
    reversePath: 'buyer@example.com',
    tlsVersion: null,
    tlsCipher: null,
    error: null,
    parserVersion: 1,
    parts: [],
    documents: [],
    conflicts: [],
    ...facts,
  };
}
