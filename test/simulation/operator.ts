/** Who runs `reconcile` and `jobs requeue`; one at a time, as the lock in the database has it. */
import type { House } from './house.ts';
import { requeueStored, runReconcile } from './tools.ts';
import type { Actor } from './world.ts';

export interface Operator {
  readonly busy: boolean;
  /** Starts one; false: one is under way. `ended` hears what it said, or null when it failed or died. */
  reconcile(o: { readonly redeliver: boolean; readonly evenAfterRestore?: boolean }): boolean;
  requeue(): boolean;
  /** The machine it runs on goes down. */
  die(): void;
  /** What the last one that ended was about; null: it failed, or died. */
  readonly last: string | null;
}

export function createOperator(house: House): Operator {
  const { world } = house;
  let current: Actor | null = null;
  let last: string | null = null;

  const run = (name: string, work: (actor: Actor) => Promise<string>): boolean => {
    if (current !== null) return false;
    const actor = house.actor(name);
    current = actor;
    last = null;
    const settle = (result: string | null): void => {
      if (current !== actor) return;
      current = null;
      last = result;
      world.note(`${name} ends: ${result ?? 'it failed'}`);
    };
    actor.run(() => {
      work(actor).then(settle, () => settle(null));
    });
    void actor.died.then(() => settle(null));
    return true;
  };

  return {
    get busy() {
      return current !== null;
    },
    get last() {
      return last;
    },
    reconcile: ({ redeliver, evenAfterRestore = false }) =>
      run('reconcile', async (actor) => {
        const report = await runReconcile(house, actor, { redeliver, evenAfterRestore });
        if (report.stopped !== null) throw new Error(report.stopped);
        if (redeliver) house.forgetful = false;
        const { missing, failed, orphans, redelivery, jobs } = report;
        const handedIn = redelivery === null ? '' : `, ${redelivery.ids.length} handed in`;
        return `${missing.length} missing, ${failed.length} failed, ${orphans.removed} removed, ${jobs} jobs${handedIn}`;
      }),
    requeue: () =>
      run('requeue', async (actor) => {
        await requeueStored(house, actor);
        return 'requeued';
      }),
    die() {
      if (current !== null) world.kill(current);
    },
  };
}
