/** What outlives processes: tables, disks and the queue, and what clients were told. */
import { createMemoryDatabase, type MemoryDatabase } from '../../src/testing/memory/database.ts';
import { createJobQueueServer, type JobQueueServer } from '../../src/testing/memory/job-queue.ts';
import { createMount, createVolume, type Mount, type Volume } from '../../src/testing/memory/volume.ts';
import { makeMails, ORGS, type SimulatedMail } from './mails.ts';
import type { Actor, World } from './world.ts';

/** A client has read this 250. */
export interface Acknowledged {
  readonly mail: SimulatedMail;
  readonly ids: readonly string[];
}

export interface House {
  readonly world: World;
  readonly database: MemoryDatabase;
  readonly queue: JobQueueServer;
  /** The store that the database knows. */
  readonly home: Volume;
  readonly mount: Mount;
  readonly mails: readonly SimulatedMail[];
  readonly bySha: ReadonlyMap<string, SimulatedMail>;
  readonly ledger: Acknowledged[];
  /** The database is older than what clients were told, and nobody has handed anything in again. */
  forgetful: boolean;
  /** It ever was. */
  restored: boolean;
  /** The queue has lost jobs that nobody has put back yet. */
  queueForgot: boolean;
  /** A process, whose sessions end with it. */
  actor(name: string): Actor;
}

export function createHouse(world: World): House {
  const clock = world.now;
  const database = createMemoryDatabase({ clock });
  database.transact(({ orgs }) => {
    for (const { id, slug } of ORGS) orgs.set(id, { id, slug, name: slug, disabled: false });
  });
  const home = createVolume({ clock });
  const mails = makeMails(world.chance);
  return {
    world,
    database,
    queue: createJobQueueServer({ clock }),
    home,
    mount: createMount(home),
    mails,
    bySha: new Map(mails.map((mail) => [mail.sha256, mail])),
    ledger: [],
    forgetful: false,
    restored: false,
    queueForgot: false,
    actor: (name) => world.actor(name, (dead) => database.endSession(dead)),
  };
}
