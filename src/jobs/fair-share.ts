/**
 * A share of the worker for each organisation. The queue gives jobs in the order they came, so that one organisation's
 * 10,000 mails would all be read before another's one. Here a job makes way: before it begins, a waiting message of an
 * organisation that has no slot is read in its slot, in turn.
 * - One that takes the last free slot for an organisation that has others: while anybody else waits.
 * - Of all the others one in as many as there are slots, for one message: small mails leave slots free for moments, and
 *   those of one organisation would follow each other all the same.
 *
 * A message that was read so is finished when its own job comes, which then finds nothing to do. Where reading it fails,
 * nothing is lost: its own job tries, with all of its attempts. So the order of the queue and the rules of its retries stay.
 *
 * Costs: a statement for each that makes way, and while nobody else waits at most one a second, twenty with several at work.
 */
import type { WaitingMessage, WaitingMessages } from '../ports/waiting-messages.ts';
import type { Log } from '../telemetry/log.ts';

/** A job has 15 minutes (adapters/graphile/running-pool.ts); so many mails take seconds. */
const MAX_READ_AHEAD = 20;
/** While nobody else waits, and after a failure. */
const LOOK_AGAIN_AFTER_MS = 1_000;
/** While nobody waits but those that have a slot. */
const LOOK_SOON_AFTER_MS = 50;
/** Before every other. */
const FIRST_ID = '00000000-0000-0000-0000-000000000000';

export interface FairShare {
  /** `read` is called for the job's own message at last, and before it for others that it makes way for. */
  run<Job extends WaitingMessage>(
    job: Job,
    signal: AbortSignal,
    read: (message: Job | WaitingMessage, own: boolean) => Promise<void>,
  ): Promise<void>;
}

/** `slots`: jobs that this worker runs at the same time. */
export function createFairShare(o: {
  readonly slots: number;
  readonly waiting: WaitingMessages;
  readonly log: Log;
}): FairShare {
  /** The organisation of each slot in use. */
  const inUse = new Map<symbol, string>();
  /** By message; settles when it has been read, or reading it has failed. */
  const underWay = new Map<string, Promise<void>>();
  let lastServed = FIRST_ID;
  let lookAgainAt = 0;

  let begunSinceLook = 0;

  const takesLastSlotToo = (slot: symbol): boolean => {
    if (inUse.size < o.slots) return false;
    const others = new Map(inUse);
    others.delete(slot);
    return others.size === 0 || [...others.values()].includes(inUse.get(slot) ?? '');
  };

  /** null: none waits, as far as one knows. */
  const nextOfOthers = async (): Promise<WaitingMessage | null> => {
    if (performance.now() < lookAgainAt) return null;
    begunSinceLook = 0;
    try {
      const atWork = [...new Set(inUse.values())];
      const found = await o.waiting.next({ after: lastServed, except: atWork });
      // One of those at work may have more, and no slot in a moment.
      if (found === null)
        lookAgainAt = performance.now() + (atWork.length > 1 ? LOOK_SOON_AFTER_MS : LOOK_AGAIN_AFTER_MS);
      else lastServed = found.orgId;
      return found;
    } catch (error) {
      o.log.warn({ err: error }, 'could not look for waiting messages of other organisations');
      lookAgainAt = performance.now() + LOOK_AGAIN_AFTER_MS;
      return null;
    }
  };

  const reading = async (messageId: string, work: () => Promise<void>): Promise<void> => {
    const settled = Promise.withResolvers<void>();
    underWay.set(messageId, settled.promise);
    try {
      await work();
    } finally {
      underWay.delete(messageId);
      settled.resolve();
    }
  };

  return {
    async run(job, signal, read) {
      const slot = Symbol('slot');
      inUse.set(slot, job.orgId);
      try {
        let makesWay = ++begunSinceLook >= o.slots || takesLastSlotToo(slot);
        for (let ahead = 0; makesWay && ahead < MAX_READ_AHEAD && !signal.aborted; ahead++) {
          const other = await nextOfOthers();
          if (other === null || underWay.has(other.inboundMessageId)) break;
          inUse.set(slot, other.orgId);
          try {
            await reading(other.inboundMessageId, () => read(other, false));
          } catch {
            // Its own job will tell, and try again.
            lookAgainAt = performance.now() + LOOK_AGAIN_AFTER_MS;
          }
          inUse.set(slot, job.orgId);
          makesWay = takesLastSlotToo(slot);
        }
        await underWay.get(job.inboundMessageId);
        await reading(job.inboundMessageId, () => read(job, true));
      } finally {
        inUse.delete(slot);
      }
    },
  };
}
