/** Hands in again the mails of a gap: those that got a 250 and whose rows the restore of a database has lost. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { ForgottenMail, Redelivered } from '../intake/redelivery.ts';
import type { ObjectStore } from '../ports/object-store.ts';
import type { Reconciliation } from '../ports/reconciliation.ts';
import { type Candidate, candidateOf, type Gaps, isDocument, receivedAt } from './gap.ts';

const PAGE_KEYS = 500;
/** Held and put into the order of their receipt: of two with one Message-ID the first is the message. */
const SORTED_AT_ONCE = 10_000;
/** They are read at the same time and share a commit. */
const AT_ONCE = 16;
const MAX_NAMED = 10_000;
/**
 * A mail that a server has stored has its row by then, or its object is gone: a commit is given up after 17 s. Without this,
 * one whose commit fails while it is handed in would leave a row without its object.
 */
const COMMITTED_WITHIN_MS = 20_000;

export interface Redelivery {
  /** Rows that are there again, each with its job. */
  accepted: number;
  /** There already under another id; the object went where that one has its own. */
  duplicate: number;
  /** Kept aside, as a conflict. */
  conflict: number;
  /** By the database, for good: their objects stay. */
  refused: number;
  /** With `dryRun`: mails that would be handed in. */
  planned: number;
  /** Of mails accepted or in conflict, the first MAX_NAMED. */
  readonly ids: string[];
}

export interface RedeliverOptions {
  readonly objects: Pick<ObjectStore, 'list' | 'head' | 'remove'>;
  readonly rows: Pick<Reconciliation, 'notNamedById' | 'named' | 'slugs' | 'rawKeyOf' | 'noteRedelivery'>;
  readonly gaps: Gaps;
  /** By the store's clock, a moment ago. */
  readonly storeNow: Date;
  readonly redeliver: (mails: readonly ForgottenMail[]) => Promise<readonly Redelivered[]>;
  /** Who asks, for the audit log. */
  readonly actor: string;
  readonly dryRun: boolean;
  /** Called before each page. Errors: whatever ends the run. */
  readonly beforeChange: () => Promise<void>;
}

/** Errors: `StoreError`, `RecordError`, those of the database. What was handed in stays; the next run goes on. */
export async function redeliverGap(o: RedeliverOptions): Promise<Redelivery> {
  const report: Redelivery = { accepted: 0, duplicate: 0, conflict: 0, refused: 0, planned: 0, ids: [] };
  let page: Candidate[] = [];
  let forgotten: Candidate[] = [];
  const sift = async (): Promise<void> => {
    const nobodys = new Set(await o.rows.notNamedById(page));
    forgotten.push(...page.filter(({ key }) => nobodys.has(key)));
    page = [];
    if (forgotten.length >= SORTED_AT_ONCE) await settle();
  };
  const settle = async (): Promise<void> => {
    await handIn(o, forgotten, report);
    forgotten = [];
  };
  for await (const facts of o.objects.list('')) {
    const candidate = candidateOf(facts);
    if (candidate === null || isDocument(candidate) || !o.gaps.holds(candidate)) continue;
    if (page.push(candidate) >= PAGE_KEYS) await sift();
  }
  if (page.length > 0) await sift();
  await settle();
  return report;
}

async function handIn(o: RedeliverOptions, candidates: readonly Candidate[], report: Redelivery): Promise<void> {
  if (candidates.length === 0) return;
  if (!o.dryRun) await untilCommitted(o, candidates);
  const slugs = await o.rows.slugs([...new Set(candidates.map(({ orgId }) => orgId))]);
  const named = await o.rows.named(candidates.map(({ key }) => key));
  const mails = candidates
    .filter(({ key }) => !named.has(key))
    .flatMap((candidate) => asForgotten(candidate, slugs.get(candidate.orgId)))
    .sort((a, b) => a.receivedAt.getTime() - b.receivedAt.getTime() || (a.id < b.id ? -1 : 1));
  if (o.dryRun) report.planned += mails.length;
  else for (let at = 0; at < mails.length; at += AT_ONCE) await handInSome(o, mails.slice(at, at + AT_ONCE), report);
}

async function untilCommitted({ storeNow }: RedeliverOptions, candidates: readonly Candidate[]): Promise<void> {
  const youngest = Math.max(...candidates.map(({ facts }) => facts.modifiedAt.getTime()));
  const waitMs = youngest + COMMITTED_WITHIN_MS - storeNow.getTime();
  if (waitMs > 0) await sleep(Math.min(waitMs, COMMITTED_WITHIN_MS));
}

/** None of an organisation that this database does not know: it is told with the objects that are kept. */
function asForgotten(candidate: Candidate, orgSlug: string | undefined): readonly ForgottenMail[] {
  if (orgSlug === undefined) return [];
  const { id, orgId, key } = candidate;
  return [{ id, orgId, orgSlug, rawStorageKey: key, receivedAt: receivedAt(candidate) }];
}

async function handInSome(o: RedeliverOptions, mails: readonly ForgottenMail[], report: Redelivery): Promise<void> {
  await o.beforeChange();
  const outcomes = await o.redeliver(mails);
  const recorded: ForgottenMail[] = [];
  for (const [index, mail] of mails.entries()) {
    const redelivered = outcomes[index];
    if (redelivered === undefined || redelivered.outcome === 'gone') continue;
    report[redelivered.outcome]++;
    if (redelivered.outcome === 'duplicate') await removeSecond(o, mail, redelivered.id);
    else if (redelivered.outcome !== 'refused') recorded.push(mail);
  }
  report.ids.push(...recorded.map(({ id }) => id).slice(0, MAX_NAMED - report.ids.length));
  if (recorded.length > 0)
    await o.rows.noteRedelivery(
      recorded.map(({ orgId }) => orgId),
      o.actor,
    );
}

/** Only where the one that is there has its bytes: this object may be the last copy of an acknowledged mail. */
async function removeSecond(o: RedeliverOptions, mail: ForgottenMail, id: string): Promise<void> {
  const key = await o.rows.rawKeyOf(id);
  if (key === null || key === mail.rawStorageKey || (await o.objects.head(key)) === null) return;
  await o.objects.remove(mail.rawStorageKey);
}
