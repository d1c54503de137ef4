/**
 * The tables that the ports of the database speak of, in memory, with what the promise rests on: a transaction is whole or
 * not there; a commit that waited for the disk survives a crash, and with it all before it; of the others a crash takes a
 * tail away, in the order they were made. Statements do not interleave: each effect is one of them.
 */
import type { DocumentError, NewDocument, Note, PartDecision } from '../../ports/extraction-store.ts';
import type { InboundMessageStatus, NewMessage } from '../../ports/message-store.ts';
import type { Organisation } from '../../ports/organisations.ts';
import type { MemoryGap } from '../../ports/store-marks.ts';
import type { DocumentToExtract } from '../../ports/unfinished-documents.ts';

export interface MessageRow extends NewMessage {
  readonly status: InboundMessageStatus;
  readonly error: DocumentError | null;
  readonly parts: readonly PartDecision[] | null;
  readonly notes: readonly Note[];
  readonly parserVersion: number | null;
}

export interface ConflictRow extends NewMessage {
  readonly inboundMessageId: string;
}

export interface DocumentRow extends Omit<NewDocument, 'status'> {
  readonly orgId: string;
  readonly inboundMessageId: string;
  readonly status: DocumentToExtract['status'];
  /** Units: milliseconds since 1970. */
  readonly createdAt: number;
}

export interface JobRow {
  readonly id: string;
  readonly task: string;
  readonly payload: Readonly<Record<string, unknown>>;
  readonly key: string | null;
  readonly attempts: number;
  readonly maxAttempts: number;
  /** The worker that is at it. */
  readonly lockedBy: string | null;
  /** Units: milliseconds since 1970. */
  readonly runAt: number;
  readonly lastError: string | null;
}

export interface MarkRow {
  readonly id: string;
  readonly madeAt: number;
  readonly leftAt: number | null;
}

export interface AuditRow {
  readonly action: string;
  readonly actor: string;
  readonly orgId: string;
}

export interface GapCountRow {
  readonly mails: number;
  readonly documents: number;
  readonly until: Date;
}

/** Rows are never changed, only replaced. */
export interface Table<Row> {
  get(id: string): Row | undefined;
  set(id: string, row: Row): void;
  remove(id: string): void;
  /** In order of id. */
  all(): readonly Row[];
}

type Tables = {
  readonly orgs: Table<Organisation>;
  readonly messages: Table<MessageRow>;
  readonly conflicts: Table<ConflictRow>;
  readonly documents: Table<DocumentRow>;
  readonly jobs: Table<JobRow>;
  readonly marks: Table<MarkRow>;
  readonly gaps: Table<MemoryGap>;
  readonly gapCounts: Table<GapCountRow>;
  readonly audit: Table<AuditRow>;
};

export interface Holder {
  readonly connection: object;
}

export interface Backup {
  readonly contents: readonly ReadonlyMap<string, unknown>[];
}

export interface MemoryDatabase {
  readonly tables: Tables;
  /** What every row of it was read of and written by, as one. Errors: those of `work`; nothing of it is left then. */
  transact<T>(work: (tables: Tables) => T, o?: { readonly durable?: boolean }): T;
  /** Units: milliseconds since 1970. */
  now(): number;
  newId(): string;
  addJob(job: Pick<JobRow, 'task' | 'payload'> & { readonly key?: string }): void;
  /** Called after each commit that added a job. */
  onJob(listener: () => void): void;
  /** Rows held by a transaction, until it ends or its connection does. */
  readonly held: Map<string, Holder>;
  /** Workers that are alive, each with the session that says so. */
  readonly leases: Map<string, object>;
  /** Grows with each change. */
  readonly changes: number;
  /** Shape: how many commits a crash may take. */
  unsynced(): number;
  /** The server dies: the newest `lost` commits that no disk has are gone, and every session is. */
  crash(lost: number): void;
  endSession(session: object): void;
  backup(): Backup;
  /** As from a backup: every session is gone. */
  restore(backup: Backup): void;
}

interface KeptTable<Row> extends Table<Row> {
  contents(): ReadonlyMap<string, Row>;
  replace(contents: ReadonlyMap<string, Row>): void;
}

type Undo = () => void;

export const MAX_ATTEMPTS = 25;

export function createMemoryDatabase(o: { readonly clock: () => number }): MemoryDatabase {
  let undoing: Undo[] = [];
  /** Of each commit that may still be lost, the oldest first. */
  let unsynced: Undo[][] = [];
  let lastId = 0;
  let jobAdded = false;
  let changes = 0;
  const listeners: (() => void)[] = [];
  const held = new Map<string, Holder>();
  const leases = new Map<string, object>();
  const endSessions = (): void => {
    held.clear();
    leases.clear();
  };
  const note = (undo: Undo): void => void undoing.push(undo);
  const table = <Row>(): KeptTable<Row> => createTable<Row>(note);
  const tables = {
    orgs: table<Organisation>(),
    messages: table<MessageRow>(),
    conflicts: table<ConflictRow>(),
    documents: table<DocumentRow>(),
    jobs: table<JobRow>(),
    marks: table<MarkRow>(),
    gaps: table<MemoryGap>(),
    gapCounts: table<GapCountRow>(),
    audit: table<AuditRow>(),
  };
  const all = Object.values(tables) as readonly KeptTable<unknown>[];
  const newId = (): string => String(++lastId).padStart(12, '0');

  const roll = (undos: readonly Undo[]): void => {
    for (const undo of undos.toReversed()) undo();
  };

  return {
    tables,
    held,
    leases,
    get changes() {
      return changes;
    },
    now: o.clock,
    newId,
    transact(work, { durable = true } = {}) {
      undoing = [];
      jobAdded = false;
      try {
        const result = work(tables);
        if (undoing.length > 0) unsynced.push(undoing);
        changes += undoing.length;
        if (durable) unsynced = [];
        if (jobAdded) for (const listener of listeners) listener();
        return result;
      } catch (error) {
        roll(undoing);
        throw error;
      }
    },
    addJob({ task, payload, key = null }) {
      const row = { task, payload, key, attempts: 0, maxAttempts: MAX_ATTEMPTS, lockedBy: null, lastError: null };
      const id = newId();
      tables.jobs.set(id, { ...row, id, runAt: o.clock() });
      jobAdded = true;
    },
    onJob: (listener) => void listeners.push(listener),
    unsynced: () => unsynced.length,
    crash(lost) {
      changes++;
      for (const undos of unsynced.splice(Math.max(0, unsynced.length - lost)).toReversed()) roll(undos);
      unsynced = [];
      endSessions();
    },
    endSession(session) {
      for (const [id, { connection }] of held) if (connection === session) held.delete(id);
      for (const [id, connection] of leases) if (connection === session) leases.delete(id);
    },
    backup: () => ({ contents: all.map((each) => new Map(each.contents())) }),
    restore({ contents }) {
      changes++;
      for (const [index, each] of all.entries()) each.replace(contents[index] ?? new Map());
      unsynced = [];
      endSessions();
    },
  };
}

function createTable<Row>(note: (undo: Undo) => void): KeptTable<Row> {
  let rows = new Map<string, Row>();
  let inOrder: readonly Row[] | null = null;
  const put = (id: string, row: Row | undefined): void => {
    inOrder = null;
    if (row === undefined) rows.delete(id);
    else rows.set(id, row);
  };
  const change = (id: string, row: Row | undefined): void => {
    const before = rows.get(id);
    note(() => put(id, before));
    put(id, row);
  };
  return {
    get: (id) => rows.get(id),
    set: change,
    remove: (id) => change(id, undefined),
    all() {
      inOrder ??= [...rows].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, row]) => row);
      return inOrder;
    },
    contents: () => rows,
    replace(contents) {
      rows = new Map(contents);
      inOrder = null;
    },
  };
}
