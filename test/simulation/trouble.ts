/** What goes wrong in a run beside lost questions and answers. Each run has some of the kinds only, so that each is met alone. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Backup } from '../../src/testing/memory/database.ts';
import type { Peer } from '../../src/testing/memory/gate.ts';
import { createVolume, type Volume } from '../../src/testing/memory/volume.ts';
import type { Senders } from './client.ts';
import type { House } from './house.ts';
import type { Operator } from './operator.ts';
import type { Chance } from './random.ts';
import type { Staff } from './staff.ts';

export const KINDS = [
  'links',
  'deaths',
  'kill',
  'power',
  'database',
  'queue',
  'store',
  'swap',
  'restore',
  'reconcile',
  'night',
] as const;
export type Kind = (typeof KINDS)[number];

export interface Trouble {
  readonly kinds: ReadonlySet<Kind>;
  /** How often each has struck. */
  readonly struck: ReadonlyMap<Kind, number>;
  /** Called before every step; true: something struck. */
  maybe(): boolean;
  /** No more from now on; what lasts ends. */
  end(): void;
}

export interface TroubleOptions {
  readonly house: House;
  readonly staff: Staff;
  readonly senders: Senders;
  readonly operator: Operator;
}

/** A strike once in so many steps. */
const STRIKES = 70;
const RESTORE_MS = 60_000;
const NIGHT_MS = 25 * 3_600_000;
/** A server leaves a mark every 30 s: a copy older than this has none that is fresh. */
const OUTDATED_MS = 150_000;
/** The very first look of a server may not have ended: on a new database it takes any empty store for its own. */
const FIRST_LOOK_MS = 60_000;

export function chooseKinds(chance: Chance): ReadonlySet<Kind> {
  return new Set(KINDS.filter(() => chance.oneIn(3)));
}

export function createTrouble(o: TroubleOptions & { readonly kinds: ReadonlySet<Kind> }): Trouble {
  const { house, staff, senders, operator, kinds } = o;
  const { world, database, home, mount, queue } = house;
  const { chance } = world;
  const struck = new Map<Kind, number>();
  let over = false;
  let swapped = false;
  let backup: { readonly contents: Backup; readonly marks: ReadonlySet<string> } | null = null;
  let copy: { readonly volume: Volume; readonly at: number } | null = null;

  const later = (upToMs: number, work: () => void): void => {
    void sleep(1 + chance.integer(upToMs)).then(() => {
      if (!over) work();
    });
  };
  const away = (peer: Peer, upToMs: number): void => {
    world.away.add(peer);
    world.cut(peer);
    later(upToMs, () => void world.away.delete(peer));
  };
  const loseTail = (): void => {
    const lost = chance.integer(database.unsynced() + 1);
    world.note(`the database dies and loses ${lost} commits`);
    database.crash(lost);
    world.cut('database');
  };
  const foreign = (): Volume => {
    const volume = createVolume({ clock: world.now });
    volume.marks.set('99999999-9999-4999-8999-999999999999', world.now());
    return volume;
  };
  /** null: not now. */
  const other = (): readonly [string, Volume | null] | null => {
    const which = chance.integer(4);
    if (which === 0) return ['nothing', null];
    if (which === 1) return ['an empty store', createVolume({ clock: world.now })];
    if (which === 2) return ['a foreign store', foreign()];
    return copy === null || world.now() - copy.at < OUTDATED_MS ? null : ['an old copy', copy.volume.copy()];
  };

  const strike: Readonly<Record<Kind, () => boolean>> = {
    links: () => false,
    deaths: () => false,
    kill() {
      const actors = staff.alive();
      if (actors.length > 0) world.kill(chance.pick(actors));
      return actors.length > 0;
    },
    power() {
      world.note('the power fails');
      for (const actor of staff.alive()) world.kill(actor);
      operator.die();
      home.powerFails();
      loseTail();
      return true;
    },
    database() {
      loseTail();
      away('database', chance.oneIn(2) ? 1 : 20_000);
      return true;
    },
    queue() {
      if (chance.oneIn(3)) {
        world.note('the queue forgets everything');
        queue.forget();
        house.queueForgot = true;
      } else {
        world.note('the queue is away');
        away('queue', 30_000);
      }
      return true;
    },
    store() {
      world.note('the store is away');
      away('store', 20_000);
      return true;
    },
    swap() {
      const isKnown = database.tables.marks
        .all()
        .some(({ leftAt }) => leftAt !== null && leftAt < world.now() - FIRST_LOOK_MS);
      if (copy === null && isKnown) copy = { volume: home.copy(), at: world.now() };
      const found = swapped || !isKnown ? null : other();
      if (found === null) return false;
      world.note(`${found[0]} is mounted`);
      swapped = true;
      mount.mount(found[1]);
      later(90_000, () => {
        world.note('the store is mounted again');
        mount.mount(home);
        swapped = false;
      });
      return true;
    },
    restore() {
      if (backup === null) {
        world.note('a backup of the database is made');
        backup = { contents: database.backup(), marks: new Set(database.tables.marks.all().map(({ id }) => id)) };
        return false;
      }
      const { contents, marks } = backup;
      // A restore that is over before a server has left its next mark goes unnoticed: docs/operations.md.
      if (swapped || ![...home.marks.keys()].some((id) => !marks.has(id))) return false;
      world.note('the database is restored');
      for (const actor of staff.alive()) world.kill(actor);
      operator.die();
      world.cut('database');
      // It takes a while, in which the system writes back what a killed server had not synced.
      world.jump(RESTORE_MS);
      home.writeBack();
      database.restore(contents);
      house.forgetful = true;
      house.restored = true;
      return true;
    },
    reconcile: () => operator.reconcile({ redeliver: chance.oneIn(2) }),
    night() {
      // No delivery takes a day: its sender, and the server, give up after minutes.
      if (senders.underWay > 0 || operator.busy) return false;
      world.note('a day passes');
      world.jump(NIGHT_MS);
      home.writeBack();
      return true;
    },
  };
  world.faults = {
    lostBefore: kinds.has('links') ? 25 : 0,
    lostAfter: kinds.has('links') ? 25 : 0,
    dies: kinds.has('deaths') ? 60 : 0,
  };

  return {
    kinds,
    struck,
    maybe() {
      if (over || kinds.size === 0 || !chance.oneIn(STRIKES)) return false;
      const kind = chance.pick([...kinds]);
      const strikes = strike[kind]();
      if (strikes) struck.set(kind, (struck.get(kind) ?? 0) + 1);
      return strikes;
    },
    end() {
      over = true;
      world.note('no more trouble');
      world.faults = { lostBefore: 0, lostAfter: 0, dies: 0 };
      world.away.clear();
      mount.mount(home);
    },
  };
}
