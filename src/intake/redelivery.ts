/**
 * A mail that got its 250 and whose row a restored database has forgotten, recorded once more: by the same identity and the
 * same transaction as when it came, under the id in its key, so that it is there once however often this is done. What only
 * the envelope and the connection knew is lost: see docs/operations.md, "reconcile".
 */
import { randomUUID } from 'node:crypto';
import type { Recorder } from '../messages/recorder.ts';
import { readMailHeader } from '../mime/index.ts';
import type { Note } from '../ports/extraction-store.ts';
import { type NewMessage, RecordError, type Recorded } from '../ports/message-store.ts';
import { type ObjectStore, StoreError } from '../ports/object-store.ts';
import { readStoredMail } from '../rawstore/index.ts';
import { factsOf } from './mail-facts.ts';

export interface ForgottenMail {
  readonly id: string;
  readonly orgId: string;
  readonly orgSlug: string;
  readonly rawStorageKey: string;
  readonly receivedAt: Date;
}

const NOTE: Note = {
  code: 'redelivered',
  part: null,
  text: 'handed in again after the database was restored: the sender and recipient of the envelope, the client and its TLS are not known',
};

export type Redelivered = Recorded | { readonly outcome: 'refused' | 'gone' };

/**
 * Hands mails in, in this order: of two with one Message-ID the first is the message, as it was before.
 * Shape: per mail what became of it; `refused` by the database for good, `gone` from the store.
 * Errors: `StoreError` of the others, `RecordError` but `refused`, when all have ended; it may be done again.
 */
export function createRedelivery(o: {
  readonly objects: Pick<ObjectStore, 'get'>;
  readonly recorder: Recorder;
  /** Of ours: the recipient is recorded as the organisation's address there. */
  readonly domain: string;
}): (mails: readonly ForgottenMail[]) => Promise<readonly Redelivered[]> {
  const asNewMessage = async ({ orgSlug, ...mail }: ForgottenMail): Promise<NewMessage> => {
    const raw = await readStoredMail(o.objects, mail.rawStorageKey);
    return {
      ...factsOf(raw, readMailHeader(raw.header.headerBlock)),
      ...mail,
      reversePath: null,
      toEmail: `orders+${orgSlug}@${o.domain}`,
      traceId: randomUUID().replaceAll('-', ''),
      remoteAddress: null,
      heloName: null,
      tlsVersion: null,
      tlsCipher: null,
      notes: [NOTE],
    };
  };
  return async (mails) => {
    const read = await Promise.allSettled(mails.map(asNewMessage));
    const recording = read.map((one) => (one.status === 'rejected' ? goneOrThrow(one.reason) : record(o, one.value)));
    const outcomes = await Promise.allSettled(recording);
    return outcomes.map((outcome) => {
      if (outcome.status === 'rejected') throw outcome.reason;
      return outcome.value;
    });
  };
}

async function goneOrThrow(error: unknown): Promise<Redelivered> {
  if (error instanceof StoreError && error.code === 'object-missing') return { outcome: 'gone' };
  throw error;
}

async function record({ recorder }: { readonly recorder: Recorder }, message: NewMessage): Promise<Redelivered> {
  try {
    const [recorded] = await recorder.record([message]);
    if (recorded === undefined) throw new Error('the recorder answered no row');
    return recorded;
  } catch (error) {
    if (error instanceof RecordError && error.code === 'refused') return { outcome: 'refused' };
    throw error;
  }
}
