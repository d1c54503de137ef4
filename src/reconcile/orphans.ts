/**
 * Objects that no row names. What a crash left behind was never told 250 and is removed after a day; what a restore of the
 * database made rowless may be acknowledged mail, and is kept. See docs/decisions.md, "Objects without a row".
 */
import type { ObjectFacts, ObjectStore } from '../ports/object-store.ts';
import type { Reconciliation } from '../ports/reconciliation.ts';
import type { MemoryGap } from '../ports/store-marks.ts';

const PAGE_KEYS = 500;
/** Of objects that seem to be nobody's: to be certain of them reads whole tables. */
const PAGE_CANDIDATES = 1_000;
/** Clocks that differ by more are called broken by `doctor`. */
const CLOCK_TOLERANCE_MS = 5 * 60_000;
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
  /** Keys of the first MAX_NAMED of each. */
  readonly removedKeys: string[];
  readonly keptKeys: { readonly key: string; readonly reason: KeptReason }[];
}

export interface OrphanOptions {
  readonly objects: Pick<ObjectStore, 'list' | 'head' | 'remove'>;
  readonly rows: Pick<Reconciliation, 'notNamedById' | 'named' | 'knownOrganisations' | 'extracting'>;
  /** By the store's own clock: what is younger is not looked at. */
  readonly olderThan: Date;
  readonly gaps: readonly MemoryGap[];
  /** Also those that a restore may have made rowless. */
  readonly evenAfterRestore: boolean;
  readonly dryRun: boolean;
  /** Called before each page of removals. Errors: whatever ends the run. */
  readonly beforeRemoval: () => Promise<void>;
}

interface Candidate {
  readonly key: string;
  readonly orgId: string;
  readonly id: string;
  readonly facts: ObjectFacts;
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
    else if (facts.modifiedAt >= o.olderThan) report.young++;
    else if (page.push(candidate) >= PAGE_KEYS) await sift();
  }
  if (page.length > 0) await sift();
  if (candidates.length > 0) await settle();
  return report;
}

export function emptyReport(): Orphans {
  const kept = { 'after-restore': 0, 'unknown-organisation': 0, 'being-extracted': 0 };
  return { looked: 0, young: 0, foreign: 0, removed: 0, removedBytes: 0, kept, removedKeys: [], keptKeys: [] };
}

const UUID = '[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}';
const KEY = new RegExp(`^(${UUID})/\\d{4}/\\d{2}/(${UUID})\\.[a-z0-9]+$`);

function candidateOf(facts: ObjectFacts): Candidate | null {
  const [, orgId, id] = KEY.exec(facts.key) ?? [];
  return orgId === undefined || id === undefined ? null : { key: facts.key, orgId, id, facts };
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
  const known = await o.rows.knownOrganisations(orgIds);
  const extracting = await o.rows.extracting(orgIds, new Date(o.olderThan.getTime() + CLOCK_TOLERANCE_MS));
  const named = await o.rows.named(candidates.map(({ key }) => key));
  const reasonFor = (candidate: Candidate): KeptReason | null => {
    // Organisations are never deleted: whoever wrote this, it was not a server of this database.
    if (!known.has(candidate.orgId)) return 'unknown-organisation';
    if (isDocument(candidate) && extracting.has(candidate.orgId)) return 'being-extracted';
    return !o.evenAfterRestore && isOfGap(candidate, o.gaps) ? 'after-restore' : null;
  };
  return candidates.filter(({ key }) => !named.has(key)).map((candidate) => [candidate, reasonFor(candidate)] as const);
}

/** Ids of documents are UUIDs of version 5; those of mails never are. */
const isDocument = ({ id }: Candidate): boolean => id[14] === '5';

/** By the store's time of the object, and by the time that is part of a mail's id (UUID version 7). */
function isOfGap({ id, facts }: Candidate, gaps: readonly MemoryGap[]): boolean {
  const times = [facts.modifiedAt.getTime()];
  if (id[14] === '7') times.push(Number.parseInt(id.slice(0, 8) + id.slice(9, 13), 16));
  return gaps.some(({ begins, ends }) =>
    times.some(
      (time) =>
        (begins === null || time >= begins.getTime() - CLOCK_TOLERANCE_MS) &&
        time <= ends.getTime() + CLOCK_TOLERANCE_MS,
    ),
  );
}

async function act(
  o: OrphanOptions,
  { key, facts }: Candidate,
  reason: KeptReason | null,
  report: Orphans,
): Promise<void> {
  if (reason !== null) {
    report.kept[reason]++;
    if (report.keptKeys.length < MAX_NAMED) report.keptKeys.push({ key, reason });
    return;
  }
  if (!o.dryRun) {
    // Written anew since it was listed: somebody is at work on it.
    const now = await o.objects.head(key);
    if (now !== null && now.modifiedAt >= o.olderThan) return void report.young++;
    await o.objects.remove(key);
  }
  report.removed++;
  report.removedBytes += facts.sizeBytes;
  if (report.removedKeys.length < MAX_NAMED) report.removedKeys.push(key);
}
