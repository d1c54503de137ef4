/**
 * The way of a mail up to its 250: this room implements the SMTP library's port with routing, the raw store and the
 * recorder, in that order. One transaction of the client is one `MailTransaction` here, with these states:
 *
 * - `open`: recipients are being judged; nothing is stored. Left by a body.
 * - `storing`: bytes flow into the object store under the keys of the rows to be. An abort in this state is seen when the
 *   store is done, and takes the objects away again.
 * - `stored`: the raw mail is durable, no row says so. An abort takes the objects away.
 * - `committing`: rows and jobs are on their way to the database. From here on the objects may already be somebody's only
 *   copy, so an abort touches nothing; the commit's own outcome decides.
 * - `settled`: done, or given up.
 *
 * Whatever is left behind by a crash in between is an object without a row, never a row without its object.
 */
import { randomUUID } from 'node:crypto';
import type { Recorder } from '../messages/recorder.ts';
import { isAddress, loadCharsets, type MailHeader, readMailHeader, type ScannedHeader } from '../mime/index.ts';
import { rawMailKey } from '../ports/keys.ts';
import { type NewMessage, RecordError, type RecordErrorCode, type Recorded } from '../ports/message-store.ts';
import { StoreError } from '../ports/object-store.ts';
import type { Organisation } from '../ports/organisations.ts';
import { type StoreGuard, StoreNotKnownError } from '../ports/store-guard.ts';
import type { RawStore, StoredRawMail } from '../rawstore/index.ts';
import type { Router, Sender } from '../routing/index.ts';
import {
  asciiDomain,
  type Committed,
  type Mailbox,
  type MailCommand,
  type MailReceiver,
  type MailTransaction,
  type Refused,
  type SessionFacts,
} from '../smtp/index.ts';
import type { ErrorType } from '../telemetry/metrics.ts';
import { factsOf } from './mail-facts.ts';
import { MailTelemetry, type MailTelemetryOptions } from './mail-telemetry.ts';
import { createMessageIds } from './message-ids.ts';
import { type RefusalName, refusals } from './refusals.ts';

/** One pool of random bytes for the whole process. */
const sharedMessageIds = createMessageIds();

export interface IntakeOptions extends MailTelemetryOptions {
  readonly router: Router;
  readonly rawStore: RawStore;
  readonly recorder: Recorder;
  /** Nothing is taken into a store that is not known. */
  readonly storeGuard?: Pick<StoreGuard, 'objection'> | undefined;
  /** Units: milliseconds since 1970. */
  readonly clock?: () => number;
  /** Ids of rows to be: UUIDs of version 7. */
  readonly nextMessageId?: () => string;
}

export function createIntake(o: IntakeOptions): MailReceiver {
  // Not when the first mail in each comes, while others wait.
  loadCharsets();
  return {
    async begin(session, mail, signal) {
      const traceId = randomUUID().replaceAll('-', '');
      const telemetry = new MailTelemetry(o, { session, mail, traceId });
      const unknownStore = refuseUnknownStore(o, telemetry);
      if (unknownStore !== null) return unknownStore;
      const verdict = await asking(telemetry, () => o.router.senderVerdict(mail.reversePath, null, signal));
      if (verdict === null) return createTransaction(o, { session, mail, traceId, telemetry });
      telemetry.senderRefused(verdict);
      return refused(verdict);
    },
  };
}

const refused = (name: RefusalName): Refused => ({ refusal: refusals[name] });

/** One organisation that gets the mail, and the identity its row will have. */
interface Delivery {
  readonly organisation: Organisation;
  /** The first address that led here; another one of the same organisation adds nothing. */
  readonly toEmail: string;
  readonly inboundMessageId: string;
}

interface TransactionFacts {
  readonly session: SessionFacts;
  readonly mail: MailCommand;
  readonly traceId: string;
  readonly telemetry: MailTelemetry;
}

function createTransaction(o: IntakeOptions, facts: TransactionFacts): MailTransaction {
  const { mail, telemetry } = facts;
  const deliveries = new Map<string, Delivery>();
  let state: 'open' | 'storing' | 'stored' | 'committing' | 'settled' = 'open';
  let aborted = false;
  let receivedAt = new Date(0);
  let keys: readonly string[] = [];
  let raw: StoredRawMail | undefined;
  let header: MailHeader | undefined;

  const discard = async (): Promise<void> => {
    state = 'settled';
    await o.rawStore.discard(keys);
  };

  /** The mail goes to the others of its envelope. */
  const leaveOut = async (blocking: ReadonlySet<string>): Promise<void> => {
    const orgIds = [...deliveries.keys()];
    const isLeftOut = (_: string, index: number): boolean => blocking.has(orgIds[index] ?? '');
    const leftOut = keys.filter(isLeftOut);
    keys = keys.filter((key) => !leftOut.includes(key));
    for (const orgId of blocking) {
      deliveries.delete(orgId);
      telemetry.leftOut(orgId);
    }
    await o.rawStore.discard(leftOut);
  };

  return {
    async addRecipient(recipient, signal) {
      const routed = await asking(telemetry, () => judge(o.router, recipient, mail, signal));
      if (typeof routed === 'string') {
        telemetry.recipientRefused(recipient.address, routed);
        return refused(routed);
      }
      if (!deliveries.has(routed.id)) {
        deliveries.set(routed.id, {
          organisation: routed,
          toEmail: recipient.address,
          inboundMessageId: (o.nextMessageId ?? sharedMessageIds)(),
        });
      }
      return undefined;
    },

    async body(body, signal) {
      state = 'storing';
      receivedAt = new Date(o.clock?.() ?? Date.now());
      keys = [...deliveries.values()].map(({ organisation, inboundMessageId }) =>
        rawMailKey({ orgId: organisation.id, receivedAt, inboundMessageId }),
      );
      const storing = telemetry.storing(keys.length);
      let judging: Promise<ReadonlySet<string> | 'unavailable'> | undefined;
      const onHeader = ({ headerBlock }: ScannedHeader): void => {
        header = readMailHeader(headerBlock);
        // The reverse-path was judged with each recipient.
        const senders = sendersOf(header).filter(({ address }) => address !== mail.reversePath?.address);
        if (senders.length === 0) return;
        // While the mail is stored, so that the 250 does not wait for one more turn to the database.
        judging = o.router.blockingOrganisations(senders, [...deliveries.keys()], signal).catch((error: unknown) => {
          if (!signal.aborted) telemetry.fault(error, 'directory-unavailable');
          return 'unavailable';
        });
      };
      try {
        raw = await o.rawStore.store({ keys, body, signal, onHeader });
        storing?.set({ 'orderflow.size_bytes': raw.sizeBytes });
      } catch (error) {
        state = 'settled';
        if (!(error instanceof StoreError)) throw error;
        storing?.fail(error);
        telemetry.failed(error);
        return fault(telemetry, error, error.code === 'storage-full' ? 'storage-full' : 'store-unavailable');
      } finally {
        storing?.end();
      }
      const blocking = await judging;
      state = 'stored';
      if (aborted) await discard();
      // The abort that follows a refusal takes the objects away.
      const orgIds = [...deliveries.keys()];
      if (raw.header.receivedFields > MAX_RECEIVED_FIELDS) return refuse(telemetry, orgIds, 'routing-loop');
      if (blocking === 'unavailable') return refused('unavailable');
      if (blocking === undefined || blocking.size === 0) return undefined;
      if (blocking.size === deliveries.size) return refuse(telemetry, orgIds, 'sender-blocked');
      await leaveOut(blocking);
      return undefined;
    },

    async commit() {
      if (state !== 'stored' || raw === undefined || header === undefined)
        throw new Error(`commit of a mail that is ${state}, not stored`);
      // It was known at MAIL; where it is not any more, the bytes may lie in another one.
      const unknownStore = refuseUnknownStore(o, telemetry);
      if (unknownStore !== null) {
        await discard();
        return unknownStore;
      }
      state = 'committing';
      const messages = describe(facts, [...deliveries.values()], { raw, header, keys, receivedAt });
      const committing = telemetry.committing();
      try {
        const recorded = await o.recorder.record(messages);
        committing?.end();
        state = 'settled';
        telemetry.recorded(messages, recorded);
        await discardSecond(o.rawStore, messages, recorded);
        return acknowledgement(recorded);
      } catch (error) {
        committing?.fail(error);
        telemetry.failed(error);
        if (!(error instanceof RecordError)) throw error;
        // Where the outcome is unknown, the rows may be there: their objects stay. A sender that tries again then gets
        // "duplicate", and an object that turns out to be nobody's is collected by `reconcile`.
        if (error.code === 'outcome-unknown') state = 'settled';
        else await discard();
        return fault(telemetry, error, COMMIT_FAULTS[error.code]);
      } finally {
        committing?.end();
        telemetry.end();
      }
    },

    async abort(reason) {
      aborted = true;
      const [underWay, undecided] = [state !== 'open' && state !== 'settled', state === 'committing'];
      telemetry.abandoned(reason, { orgIds: [...deliveries.keys()], underWay, undecided });
      if (state === 'stored') await discard();
    },
  };
}

/** The organisation, or why not. */
async function judge(
  router: Router,
  recipient: Mailbox,
  mail: MailCommand,
  signal: AbortSignal,
): Promise<Organisation | Verdict> {
  const routed = await router.route(recipient, signal);
  if ('verdict' in routed) return routed.verdict;
  const blocked = await router.senderVerdict(mail.reversePath, routed.organisation.id, signal);
  return blocked ?? routed.organisation;
}

type Verdict = Exclude<RefusalName, 'storage-full' | 'unstorable'>;

/** A directory that cannot be asked is our fault, and never a verdict on the mail. */
async function asking<T>(telemetry: MailTelemetry, question: () => Promise<T>): Promise<T | 'unavailable'> {
  try {
    return await question();
  } catch (error) {
    telemetry.fault(error, 'directory-unavailable');
    return 'unavailable';
  }
}

/** Spec: RFC 5321 §6.3 (a limit of at least 100) */
const MAX_RECEIVED_FIELDS = 100;

function refuse(telemetry: MailTelemetry, orgIds: readonly string[], name: RefusalName): Refused {
  telemetry.mailRefused(orgIds, name);
  return refused(name);
}

/** From has one address, rarely two; each costs a question to the database. */
const MAX_JUDGED_SENDERS = 10;

/** Longer than any honest From: what `readMailHeader` decodes of it may end before it. */
const MAX_DECODED_FROM_CHARACTERS = 4 * 1024;

/** The addresses of From, as the envelope's are judged; in a long one also those behind a name that goes on and on. */
function sendersOf({ from, raw }: MailHeader): readonly Sender[] {
  const listed = from.map(({ address }) => address).filter(isAddress);
  const isLong = raw.from !== null && raw.from.length > MAX_DECODED_FROM_CHARACTERS;
  const bracketed = isLong ? [...(raw.from ?? '').matchAll(/<([^<>\s@]{1,256}@[^<>\s@]{1,256})>/g)] : [];
  const addresses = new Set([...listed, ...bracketed.map(([, address = '']) => address)]);
  return [...addresses].slice(0, MAX_JUDGED_SENDERS).map((address) => {
    const domain = address.slice(address.lastIndexOf('@') + 1);
    return { address, domain: asciiDomain(domain) ?? domain };
  });
}

const COMMIT_FAULTS = {
  'outcome-unknown': 'outcome-unknown',
  unavailable: 'database-unavailable',
  refused: 'row-refused',
} as const satisfies Record<RecordErrorCode, ErrorType>;

/** null: go on. */
function refuseUnknownStore(o: IntakeOptions, telemetry: MailTelemetry): Refused | null {
  const objection = o.storeGuard?.objection() ?? null;
  if (objection === null) return null;
  telemetry.failed('store-unavailable');
  telemetry.end();
  return fault(telemetry, new StoreNotKnownError(objection), 'store-unavailable');
}

/** How the client hears of a fault of ours. */
function fault(telemetry: MailTelemetry, error: unknown, errorType: ErrorType): Refused {
  telemetry.fault(error, errorType);
  if (errorType === 'storage-full') return refused('storage-full');
  // Refused for good: a sender that comes back for days would meet the same, and its order would be as late as that.
  return refused(errorType === 'row-refused' ? 'unstorable' : 'unavailable');
}

interface StoredMail {
  readonly raw: StoredRawMail;
  readonly header: MailHeader;
  /** In the order of the deliveries. */
  readonly keys: readonly string[];
  readonly receivedAt: Date;
}

function describe(
  { session, mail, traceId, telemetry }: TransactionFacts,
  deliveries: readonly Delivery[],
  { raw, header, keys, receivedAt }: StoredMail,
): readonly NewMessage[] {
  const fromMail = factsOf(raw, header);
  return deliveries.map(({ organisation, toEmail, inboundMessageId }, index) => ({
    ...fromMail,
    id: inboundMessageId,
    orgId: organisation.id,
    reversePath: senderOf(mail),
    fromEmail: senderOf(mail) ?? fromMail.fromEmail,
    toEmail,
    receivedAt,
    rawStorageKey: keys[index] ?? '',
    traceId,
    traceparent: telemetry.traceparent,
    remoteAddress: session.remoteAddress,
    heloName: session.heloName,
    tlsVersion: session.tls?.version ?? null,
    tlsCipher: session.tls?.cipher ?? null,
  }));
}

/** The bytes that nobody needs a second time. With its own id it is the object of the row: `reconcile --redeliver` was quicker. */
async function discardSecond(
  rawStore: RawStore,
  messages: readonly NewMessage[],
  recorded: readonly Recorded[],
): Promise<void> {
  const keys = messages
    .filter((message, index) => recorded[index]?.outcome === 'duplicate' && recorded[index].id !== message.id)
    .map(({ rawStorageKey }) => rawStorageKey);
  if (keys.length > 0) await rawStore.discard(keys);
}

function acknowledgement(recorded: readonly Recorded[]): Committed {
  const ids = recorded.map(({ id }) => id).join(' ');
  const nothingNew = recorded.every(({ outcome }) => outcome === 'duplicate');
  return { acknowledgement: nothingNew ? `duplicate of ${ids}` : `accepted ${ids}` };
}

function senderOf(mail: MailCommand): string | null {
  return mail.reversePath?.address ?? null;
}
