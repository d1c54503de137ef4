/** The bytes of an object against what its row says of them; a piece at a time, however large it is. */
import { createHash } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { type ObjectStore, StoreError } from '../ports/object-store.ts';
import type { ExpectedObject, Problem } from '../ports/verification.ts';
import type { Log } from '../telemetry/log.ts';
import type { Pace } from './pace.ts';

/** A store that was overloaded for a moment is no damage. Units: ms. */
const PAUSES_MS = [200, 1_000];

export type Verdict = Pick<Problem, 'problem' | 'found'>;

export interface ReadOptions {
  readonly objects: Pick<ObjectStore, 'get'>;
  readonly pace: Pace;
  readonly log: Log;
  readonly signal: AbortSignal;
  /** Rejects when the store does not answer, or is another one. */
  readonly assertOurs: () => Promise<void>;
  /** Called with the bytes of each piece. */
  readonly onRead: (bytes: number) => void;
}

/** Shape: null when all is as the row says. Errors: those of `assertOurs`, and of the signal. */
export async function verdictOn(expected: ExpectedObject, o: ReadOptions): Promise<Verdict | null> {
  for (let time = 0; ; time++) {
    try {
      return compare(expected, await digestOf(expected.storageKey, o));
    } catch (error) {
      o.signal.throwIfAborted();
      if (!(error instanceof StoreError)) throw error;
      if (error.code === 'object-missing') return { problem: 'missing', found: null };
      const pauseMs = PAUSES_MS[time];
      if (pauseMs === undefined) {
        o.log.warn({ err: error, storage_key: expected.storageKey }, 'an object cannot be read');
        return { problem: 'unreadable', found: null };
      }
      await sleep(pauseMs, undefined, { signal: o.signal });
      await o.assertOurs();
    }
  }
}

type Digest = NonNullable<Problem['found']>;

async function digestOf(key: string, { objects, pace, signal, onRead }: ReadOptions): Promise<Digest> {
  const hash = createHash('sha256');
  let sizeBytes = 0;
  for await (const piece of await objects.get(key, { signal })) {
    hash.update(piece);
    sizeBytes += piece.length;
    onRead(piece.length);
    await pace.took(piece.length, signal);
  }
  return { sizeBytes, sha256: hash.digest('hex') };
}

function compare({ sizeBytes, sha256 }: ExpectedObject, found: Digest): Verdict | null {
  if (sizeBytes !== null && found.sizeBytes !== sizeBytes) return { problem: 'wrong-size', found };
  if (sha256 !== null && found.sha256 !== sha256) return { problem: 'wrong-digest', found };
  return null;
}
