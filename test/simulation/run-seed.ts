/** One run: mails, trouble, and then quiet, in which everything has to come right. The same seed is the same run. */
import { createHash } from 'node:crypto';
import { startSenders } from './client.ts';
import { createHouse, type House } from './house.ts';
import { assertAlways, assertQuiet, unfinished, Violation } from './invariants.ts';
import { createOperator, type Operator } from './operator.ts';
import { startStaff } from './staff.ts';
import { chooseKinds, createTrouble, type Kind, type Trouble } from './trouble.ts';
import { installVirtualTime, turnIsOver } from './virtual-time.ts';
import { createWorld, type World } from './world.ts';

export interface SeedOutcome {
  readonly seed: number;
  readonly steps: number;
  readonly acknowledged: number;
  readonly kinds: readonly Kind[];
  readonly struck: ReadonlyMap<Kind, number>;
  /** Of all that happened: two runs of one seed agree in it. */
  readonly digest: string;
  /** null: all is as promised. */
  readonly violation: string | null;
  readonly trace: readonly string[];
}

const MINUTE_MS = 60_000;
const TROUBLE_MS = 3 * MINUTE_MS;
const SETTLE_MS = 20 * MINUTE_MS;
const DAY_MS = 25 * 60 * MINUTE_MS;
const MAX_STEPS = 60_000;

let world: World | undefined;

/** The time of the run under way takes the place of this process's. Shape: what gives it back. */
export function beginVirtualTime(): () => void {
  return installVirtualTime(() => {
    if (world === undefined) throw new Error('no run is under way');
    return world;
  });
}

/** In virtual time, one at a time. */
export async function runSeed(seed: number): Promise<SeedOutcome> {
  world = createWorld(seed);
  const house = createHouse(world);
  const staff = startStaff(house);
  const senders = startSenders(house, staff.servers);
  const operator = createOperator(house);
  const kinds = chooseKinds(world.chance);
  const trouble = createTrouble({ house, staff, senders, operator, kinds });
  const unhandled: unknown[] = [];
  const hear = (error: unknown): void => void unhandled.push(error);
  process.on('unhandledRejection', hear);
  let violation: string | null = null;
  const drive = (until: () => boolean, limitMs: number, hope: () => string): Promise<void> =>
    driveUntil({ house, trouble, unhandled, until, limitMs, hope });
  try {
    await drive(
      () => false,
      TROUBLE_MS,
      () => '',
    );
    trouble.end();
    await drive(
      () => senders.allDone,
      SETTLE_MS,
      () => 'not every mail was taken',
    );
    await comeRight(house, operator, drive);
    assertQuiet(house);
  } catch (error) {
    violation = error instanceof Violation ? error.message : `${(error as Error).stack}`;
  } finally {
    process.off('unhandledRejection', hear);
  }
  return {
    seed,
    steps: world.steps,
    acknowledged: house.ledger.length,
    kinds: [...kinds],
    struck: trouble.struck,
    digest: createHash('sha256').update(world.trace.join('\n')).digest('hex'),
    violation,
    trace: world.trace,
  };
}

type Drive = (until: () => boolean, limitMs: number, hope: () => string) => Promise<void>;

/** As docs/operations.md says: after a restore hand in again and queue again; a day later clean up. */
async function comeRight(house: House, operator: Operator, drive: Drive): Promise<void> {
  const finished = (): Promise<void> =>
    drive(
      () => unfinished(house) === null,
      SETTLE_MS,
      () => unfinished(house) ?? '',
    );
  const perform = async (start: () => boolean, what: string): Promise<void> => {
    do {
      await drive(
        () => !operator.busy,
        SETTLE_MS,
        () => `${what} does not end`,
      );
      start();
      await drive(
        () => !operator.busy,
        SETTLE_MS,
        () => `${what} does not end`,
      );
    } while (operator.last === null);
  };
  const aDayPasses = (): void => {
    house.world.note('a day passes');
    house.world.jump(DAY_MS);
    house.home.writeBack();
  };
  if (house.restored) {
    if (house.world.chance.oneIn(2)) {
      aDayPasses();
      await perform(() => operator.reconcile({ redeliver: false }), 'reconcile');
    }
    await perform(() => operator.reconcile({ redeliver: true }), 'reconcile --redeliver');
    await drive(
      () => nothingUnread(house),
      SETTLE_MS,
      () => unfinished(house) ?? '',
    );
    await perform(() => operator.requeue(), 'requeue');
  }
  await finished();
  aDayPasses();
  await perform(() => operator.reconcile({ redeliver: false }), 'reconcile');
  if (house.restored) {
    await perform(() => operator.reconcile({ redeliver: false, evenAfterRestore: true }), 'reconcile');
  }
  await finished();
}

const nothingUnread = ({ database: { tables } }: House): boolean =>
  tables.messages.all().every(({ status }) => status === 'PARSED') && tables.jobs.all().length === 0;

async function driveUntil(o: {
  readonly house: House;
  readonly trouble: Trouble;
  readonly unhandled: readonly unknown[];
  readonly until: () => boolean;
  readonly limitMs: number;
  readonly hope: () => string;
}): Promise<void> {
  const { world } = o.house;
  const limit = world.now() + o.limitMs;
  for (;;) {
    await turnIsOver();
    assertAlways(o.house);
    if (o.unhandled.length > 0) throw new Violation(`a rejection that nobody handles: ${String(o.unhandled[0])}`);
    if (o.until()) return;
    if (world.now() > limit) {
      if (o.hope() === '') return;
      throw new Violation(o.hope());
    }
    if (world.steps > MAX_STEPS) throw new Violation('it goes on and on');
    // Who hears of it has a turn before anything else happens.
    if (o.trouble.maybe()) continue;
    if (!world.advance()) throw new Violation(`nothing is left that could happen: ${o.hope()}`);
  }
}
