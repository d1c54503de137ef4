/**
 * Objects that no row names. What a crash left behind was never told 250 and is removed after a day; what a restore of the
 * database made rowless may be acknowledged mail, and is kept. See docs/decisions/032-objects-without-a-row.md.
 */
import type { GapObjects } from '../ports/gap-memory.ts';
import type { ObjectStore } from '../ports/object-store.ts';
import type { Reconciliation } from '../ports/reconciliation.ts';
import { type Candidate, CLOCK_TOLERANCE_MS, candidateOf, type Gaps, isDocument } from './gap.ts';

const PAGE_KEYS = 500;
/** Of objects that seem to be nobody's: to be certain of them reads whole tables. */
const PAGE_CANDIDATES = 1_000;
const MAX_NAMED = 1_000;

/** Why one is left in its place. */
export type KeptReason = 'after-restore' | 'unknown-organisation' | 'being-extracted';

export interface Orphans {
  looked: number;
  /** Too young to be judged. */
  young: number;
  /** Not of the form of our keys. */
  foreign: number;
  removed: number;
  removedBytes: number;
  readonly kept: Record<KeptReason, number>;
  /** Of those kept `after-restore`: the mails, each perhaps acknowledged. The others are documents of such. */
  keptMails: number;
  /** Keys of the first MAX_NAMED of each. */
  readonly removedKeys: string[];
  readonly keptKeys: { readonly key: string; readonly reason: KeptReason }[];
}

export interface OrphanOptions {
  readonly objects: Pick<ObjectStore, 'list' | 'head' | 'remove'>;
  readonly rows: Pick<Reconciliation, 'notNamedById' | 'named' | 'slugs' | 'extracting'>;
  /** By the store's own clock: what is younger is not looked at, but for what is of a gap. */
  readonly olderThan: Date;
  readonly gaps: Gaps;
  /** Also those that a restore may have made rowless. */
  readonly evenAfterRestore: boolean;
  readonly dryRun: boolean;
  /** Called before each page of removals. Errors: whatever ends the run. */
  readonly beforeRemoval: () => Promise<void>;
}

export async function collectOrphans(o: OrphanOptions): Promise<Orphans> {
  const report = emptyReport();
  let page: Candidate[] = [];
  let candidates: Candidate[] = [];
  const sift = async (): Promise<void> => {
    const nobodys = new Set(await o.rows.notNamedById(page));
    candidates.push(...page.filter(({ key }) => nobodys.has(key)));
    page = [];
    if (candidates.length >= PAGE_CANDIDATES) await settle();
  };
  const settle = async (): Promise<void> => {
    const judged = await judge(o, candidates);
    if (judged.some(([, reason]) => reason === null)) await o.beforeRemoval();
    for (const [candidate, reason] of judged) await act(o, candidate, reason, report);
    candidates = [];
  };
  for await (const facts of o.objects.list('')) {
    report.looked++;
    const candidate = candidateOf(facts);
    if (candidate === null) report.foreign++;
    else if (facts.modifiedAt >= o.olderThan && !o.gaps.holds(candidate)) report.young++;
    else if (page.push(candidate) >= PAGE_KEYS) await sift();
  }
  if (page.length > 0) await sift();
  if (candidates.length > 0) await settle();
  return report;
}

/** What of the gaps waits for a decision. */
export const undecided = ({ kept, keptMails }: Orphans): GapObjects => ({
  mails: keptMails,
  documents: kept['after-restore'] - keptMails,
});

export function emptyReport(): Orphans {
  const kept = { 'after-restore': 0, 'unknown-organisation': 0, 'being-extracted': 0 };
  return {
    looked: 0,
    young: 0,
    foreign: 0,
    removed: 0,
    removedBytes: 0,
    kept,
    keptMails: 0,
    removedKeys: [],
    keptKeys: [],
  };
}

/**
 * Those that are nobody's for certain, each with why it stays, or null.
 * `extracting` is asked before the rows: a message that has ended by then gets no further document, and what documents it
 * got are seen by the question after.
 */
async function judge(
  o: OrphanOptions,
  candidates: readonly Candidate[],
): Promise<readonly (readonly [Candidate, KeptReason | null])[]> {
  const orgIds = [...new Set(candidates.map(({ orgId }) => orgId))];
  const known = await o.rows.slugs(orgIds);
  const latest = Math.max(o.olderThan.getTime(), o.gaps.lastEnd?.getTime() ?? 0);
  const extracting = await o.rows.extracting(orgIds, new Date(latest + CLOCK_TOLERANCE_MS));
  const named = await o.rows.named(candidates.map(({ key }) => key));
  const reasonFor = (candidate: Candidate): KeptReason | null => {
    // Organisations are never deleted: whoever wrote this, it was not a server of this database.
    if (!known.has(candidate.orgId)) return 'unknown-organisation';
    if (isDocument(candidate) && extracting.has(candidate.orgId)) return 'being-extracted';
    const isDecided = o.evenAfterRestore && o.gaps.isQuiet(candidate);
    return !isDecided && o.gaps.holds(candidate) ? 'after-restore' : null;
  };
  return candidates.filter(({ key }) => !named.has(key)).map((candidate) => [candidate, reasonFor(candidate)] as const);
}

async function act(o: OrphanOptions, candidate: Candidate, reason: KeptReason | null, report: Orphans): Promise<void> {
  const { key, facts } = candidate;
  if (reason !== null) {
    report.kept[reason]++;
    if (reason === 'after-restore' && !isDocument(candidate)) report.keptMails++;
    if (report.keptKeys.length < MAX_NAMED) report.keptKeys.push({ key, reason });
    return;
  }
  if (!o.dryRun) {
    // Written anew since it was listed: somebody is at work on it.
    const now = await o.objects.head(key);
    if (now !== null && now.modifiedAt > facts.modifiedAt) return void report.young++;
    await o.objects.remove(key);
  }
  report.removed++;
  report.removedBytes += facts.sizeBytes;
  if (report.removedKeys.length < MAX_NAMED) report.removedKeys.push(key);
}
