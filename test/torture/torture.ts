/**
 * Rounds of faults over houses that take mail all the time. At the end of each block of rounds the senders come to rest, and an
 * audit holds tables and bytes to the ledger of everything that was acknowledged since the house was opened.
 */
import { randomInt } from 'node:crypto';
import type { TestContext } from 'node:test';
import { createRandom } from '../../scripts/mail-mutations.ts';
import { missing } from '../../src/testing/missing.ts';
import { waitFor } from '../../src/testing/wait-for.ts';
import { type AuditReport, audit, inWords } from '../durability/audit.ts';
import { SLUGS, withClient } from '../durability/front-door.ts';
import { createLedger, type Ledger } from '../durability/ledger.ts';
import { type MailQueue, startMailQueue } from '../durability/mail-queue.ts';
import { orders } from '../durability/order-mail.ts';
import { MANNERS } from '../durability/sending-connection.ts';
import { type Fault, type FaultName, faults } from './faults.ts';
import { createHazard } from './hazard.ts';
import { type House, type HouseKind, missingFor, openHouse } from './house.ts';
import { type PlanWish, planRounds, type Round } from './plan.ts';

export interface TortureOptions extends PlanWish {
  /** How long one fault lasts at most. Units: milliseconds. */
  readonly longestMs: number;
  /** Of one process in a row. */
  readonly kills: number;
  /** Rounds between two audits. */
  readonly blockRounds: number;
  /** Between two mails on each of the connections. Units: milliseconds. */
  readonly pauseMs: number;
  /** No round begins after it. Units: milliseconds of performance.now(). */
  readonly deadline?: number;
  readonly told: (line: string) => void;
}

export interface TortureReport {
  rounds: number;
  kills: number;
  /** 250 heard to mail data, also of mails sent again. */
  acknowledgements: number;
  /** Mails that were acknowledged. */
  mails: number;
  lost: number;
  doubled: number;
  /** Every broken promise, in words, those that were lost or doubled with them. */
  readonly problems: string[];
  readonly met: Map<FaultName, number>;
}

/** Its files, and the ledger's mails, would fill disk and memory in a long run: a new house takes its place. */
const MAILS_OF_A_HOUSE = 15_000;
/** Our own deadlines are 17 s for a statement and 30 s for a step, and the worst of them may follow each other. */
const RECOVERED_WITHIN_MS = 120_000;
const RECOVERED_AFTER = 10;
/** Two of each manner. */
const CONNECTIONS = 10;
const DRAINED_WITHIN_MS = 240_000;

export async function torture(t: TestContext, o: TortureOptions): Promise<TortureReport> {
  const report: TortureReport = {
    ...{ rounds: 0, kills: 0, acknowledgements: 0, mails: 0, lost: 0, doubled: 0 },
    problems: [],
    met: new Map(),
  };
  const lanes = [...planRounds(o)].map(async ([kind, rounds]) => {
    const left = [...rounds];
    while (left.length > 0 && goesOn(o, report))
      await t.test(`house ${kind}`, (inner) => liveIn(inner, { ...o, kind, left, report }));
  });
  await Promise.all(lanes);
  return report;
}

function goesOn({ deadline = Number.POSITIVE_INFINITY }: TortureOptions, { problems }: TortureReport): boolean {
  return performance.now() < deadline && problems.length === 0;
}

interface Life extends TortureOptions {
  readonly kind: HouseKind;
  /** Taken from the front. */
  readonly left: Round[];
  readonly report: TortureReport;
}

async function liveIn(t: TestContext, o: Life): Promise<void> {
  const absent = missingFor(o.kind);
  if (absent !== null) {
    o.left.length = 0;
    return missing(t, ...absent);
  }
  const { report } = o;
  const ledger = createLedger();
  let acknowledgements = 0;
  try {
    const house = await openHouse(t, o.kind);
    while (o.left.length > 0 && goesOn(o, report) && ledger.entries.length < MAILS_OF_A_HOUSE) {
      await liveThrough(t, house, ledger, o);
      report.acknowledgements += ledger.acknowledgements - acknowledgements;
      acknowledgements = ledger.acknowledgements;
    }
    await house.door.product.stop();
  } catch (error) {
    report.problems.push(
      `house ${o.kind}: ${error instanceof Error ? `${error.message} ${error.cause ?? ''}` : error}`,
    );
    throw error;
  } finally {
    report.mails += ledger.acknowledged().length;
  }
}

/** One block, and its audit. */
async function liveThrough(t: TestContext, house: House, ledger: Ledger, o: Life): Promise<void> {
  const queue = startMailQueue(t, {
    port: house.door.port,
    ledger,
    mails: orders(SLUGS, tortureSizes),
    connections: CONNECTIONS,
    pauseMs: o.pauseMs,
    manners: MANNERS,
    redelivered: 0.1,
  });
  for (let round = 0; round < o.blockRounds && goesOn(o, o.report); round++) {
    const next = o.left.shift();
    if (next === undefined) break;
    await meet(t, house, ledger, next, o);
  }
  await queue.drain(DRAINED_WITHIN_MS);
  await hurryJobs(house.places.databaseUrl);
  judge(await audit({ ...house.places, ledger, duplicatesMayStay: true }), queue, o);
  o.told(`${o.kind}: heard ${JSON.stringify(ledger.outcomes())}`);
}

async function meet(t: TestContext, house: House, ledger: Ledger, round: Round, o: Life): Promise<void> {
  const { report } = o;
  const beganAt = performance.now();
  await taken(ledger, round, 'before');
  const hazard = createHazard({
    t,
    random: createRandom(round.seed),
    longestMs: o.longestMs,
    kills: o.kills,
    killed: () => void report.kills++,
    missing: (part, why) => missing(t, part, why),
  });
  await (faults[round.fault] as Fault).meet(house, hazard);
  const overAt = performance.now();
  await taken(ledger, round, 'after');
  report.rounds++;
  report.met.set(round.fault, (report.met.get(round.fault) ?? 0) + 1);
  const [faultMs, recoveryMs] = [overAt - beganAt, performance.now() - overAt].map(Math.round);
  o.told(
    `${o.kind} ${round.number} ${round.fault}: ${faultMs} ms, mail taken again ${recoveryMs} ms later; ` +
      `${ledger.acknowledgements} acknowledgements in this house, ${report.kills} kills`,
  );
}

async function taken(ledger: Ledger, { number, fault }: Round, when: string): Promise<void> {
  const enough = ledger.acknowledgements + RECOVERED_AFTER;
  await waitFor(() => ledger.acknowledgements >= enough, {
    timeoutMs: RECOVERED_WITHIN_MS,
    what: `mail to be taken ${when} round ${number}, ${fault}: ${JSON.stringify(ledger.outcomes())}`,
  });
}

/** A job that failed several times waits for minutes: it is made due at once, as an operator would do. */
async function hurryJobs(url: string): Promise<void> {
  const due = `
    SELECT count(*)::int AS left, (SELECT count(*) FROM graphile_worker.reschedule_jobs(
      array_agg(id) FILTER (WHERE run_at > now() AND locked_at IS NULL), run_at := now())) AS hurried
    FROM graphile_worker.jobs WHERE task_identifier = 'extract_attachments'`;
  const none = async (): Promise<boolean> =>
    (await withClient(url, (client) => client.query<{ left: number }>(due))).rows[0]?.left === 0;
  // Where they do not come to their end, the audit says which.
  await waitFor(none, { timeoutMs: RECOVERED_WITHIN_MS, intervalMs: 1_000, what: 'the jobs' }).catch(() => {});
}

function judge(found: AuditReport, queue: MailQueue, { kind, report, told }: Life): void {
  const problems = [...found.problems, ...queue.complaints];
  report.lost += problems.filter((text) => text.startsWith('LOST')).length;
  report.doubled += problems.filter((text) => text.startsWith('DOUBLED')).length;
  report.problems.push(...problems.map((text) => `house ${kind}: ${text}`));
  told(`${kind}: audited ${inWords(found)}; ${problems.length} problems`);
}

/** Small, so that many fit into memory; one in fifty is larger than one write. */
function tortureSizes(): readonly number[] {
  const sizes = Array.from({ length: randomInt(1, 4) }, () => randomInt(1, 2_500));
  return randomInt(50) === 0 ? [...sizes, 300_000] : sizes;
}
