/**
 * Group commit: messages that end while a commit is under way go together into the next one.
 *
 * Idle: nothing waits, a message that arrives is committed at once. Busy: one commit is under way, what arrives waits;
 * when it ends, everything that waits (up to MAX_BATCH) is the next commit. A commit of several is followed by a pause, in
 * which more arrive to share the next. So the latency is one commit when idle and at most two and a pause under load, and
 * the price of a commit is shared by all who are in it.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { MessageStore, NewMessage, Recorded } from '../ports/message-store.ts';
import { RecordError } from '../ports/message-store.ts';
import { withoutText } from './without-text.ts';

/** Keeps one statement's parameters below a few hundred kilobytes. */
const MAX_BATCH = 200;

/** So many at once are many senders, and the next are on their way. A few would wait for nobody. */
const SEVERAL = 4;
const PAUSE_MS = 2;

export interface Recorder {
  /**
   * One envelope: a row for each of its organisations, all or nothing.
   * Errors: `RecordError` as `MessageStore.record`; `refused` is then about this envelope alone, which was tried without
   * its free text as well.
   */
  record(envelope: readonly NewMessage[]): Promise<readonly Recorded[]>;
}

interface Waiting {
  readonly envelope: readonly NewMessage[];
  resolve(recorded: readonly Recorded[]): void;
  reject(error: unknown): void;
}

export function createRecorder(o: {
  readonly store: MessageStore;
  /** Behind a commit of several. */
  readonly pause?: () => Promise<void>;
}): Recorder {
  const { pause = () => sleep(PAUSE_MS) } = o;
  const waiting: Waiting[] = [];
  let committing = false;

  const commitWaiting = async (): Promise<void> => {
    committing = true;
    while (waiting.length > 0) {
      const batch = waiting.splice(0, MAX_BATCH);
      await commitTogether(o.store, batch);
      if (batch.length >= SEVERAL && waiting.length < MAX_BATCH) await pause();
    }
    committing = false;
  };

  return {
    record: (envelope) =>
      new Promise((resolve, reject) => {
        waiting.push({ envelope, resolve, reject });
        if (!committing) void commitWaiting();
      }),
  };
}

/** Never rejects: every outcome goes to the one who waits for it. */
async function commitTogether(store: MessageStore, batch: readonly Waiting[]): Promise<void> {
  const outcomes = await record(store, batch);
  for (const [index, one] of batch.entries()) {
    const outcome = outcomes[index];
    if (Array.isArray(outcome)) one.resolve(outcome);
    else if (!isRefused(outcome)) one.reject(outcome);
    // One row that the database will not take must not take the others down with it.
    else if (batch.length > 1) await commitTogether(store, [one]);
    else await commitWithoutText(store, one, outcome);
  }
}

/** Refused again, it is refused for good. */
async function commitWithoutText(store: MessageStore, one: Waiting, refused: RecordError): Promise<void> {
  const [outcome] = await record(store, [{ ...one, envelope: one.envelope.map(withoutText) }]);
  if (Array.isArray(outcome)) one.resolve(outcome.map((recorded) => ({ ...recorded, withoutText: refused.message })));
  else one.reject(outcome);
}

function record(store: MessageStore, batch: readonly Waiting[]): Promise<readonly unknown[]> {
  return store.record(batch.map(({ envelope }) => envelope)).catch((error: unknown) => batch.map(() => error));
}

const isRefused = (error: unknown): error is RecordError => error instanceof RecordError && error.code === 'refused';
