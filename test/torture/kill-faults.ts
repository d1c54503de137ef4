/** SIGKILL of each process there is, the change to a standby, and a commit whose answer is lost. */
import { setTimeout as sleep } from 'node:timers/promises';
import { waitFor } from '../../src/testing/wait-for.ts';
import { signal, withChildren } from '../durability/own-postgres.ts';
import type { Hazard } from './hazard.ts';
import type { House } from './house.ts';

/** Some mails are taken between two kills. */
export async function killServer({ door }: House, hazard: Hazard): Promise<void> {
  for (let kill = 0; kill < hazard.kills; kill++) {
    await sleep(hazard.lastsMs() / hazard.kills);
    await door.product.kill();
    hazard.killed();
    await door.start();
  }
}

/** Each is followed by its successor. */
export async function killProcess({ door }: House, hazard: Hazard): Promise<void> {
  const children = async (): Promise<readonly number[]> => (await withChildren(door.product.pid)).slice(1);
  for (let kill = 0; kill < hazard.kills; kill++) {
    const before = await children();
    await sleep(hazard.lastsMs() / hazard.kills);
    const victim = hazard.random.pick(before);
    signal(victim, 'SIGKILL');
    hazard.killed();
    const isReplaced = async (): Promise<boolean> => {
      const now = await children();
      return !now.includes(victim) && now.length === before.length;
    };
    await waitFor(isReplaced, { timeoutMs: 30_000, what: 'the successor of a killed process' });
  }
}

export async function killPostgres({ postgres }: House, hazard: Hazard): Promise<void> {
  if (postgres === null) return;
  for (let kill = 0; kill < hazard.kills; kill++) {
    await postgres.kill();
    hazard.killed();
    await sleep(hazard.lastsMs() / hazard.kills);
    await postgres.start();
    await sleep(hazard.lastsMs() / hazard.kills);
  }
}

/** PostgreSQL ends every session and recovers by itself. */
export async function killBackend({ postgres }: House, hazard: Hazard): Promise<void> {
  if (postgres === null) return;
  const [, ...children] = await postgres.processes();
  signal(hazard.random.pick(children), 'SIGKILL');
  hazard.killed();
}

export async function killRedis({ redis }: House, hazard: Hazard): Promise<void> {
  if (redis === null) return;
  for (let kill = 0; kill < hazard.kills; kill++) {
    await redis.server.kill();
    hazard.killed();
    await sleep(hazard.lastsMs() / hazard.kills);
    await redis.server.start();
    await sleep(hazard.lastsMs() / hazard.kills);
  }
}

export async function killStore({ store }: House, hazard: Hazard): Promise<void> {
  if (store === null) return;
  await store.server.kill();
  hazard.killed();
  await sleep(hazard.lastsMs());
  await store.server.resume();
}

export function failOver(how: 'killed' | 'fenced') {
  return async ({ pair, postgresWay }: House, hazard: Hazard): Promise<void> => {
    await sleep(hazard.lastsMs());
    await pair?.failOver(how, (url) => postgresWay.moveTo(url));
    if (how === 'killed') hazard.killed();
  };
}

export async function commitCut({ commits }: House, { random }: Hazard): Promise<void> {
  for (let cut = 0; cut < 3; cut++) {
    const name = random.pick(['orderflow-intake', 'orderflow-intake', 'orderflow-worker']);
    await commits.cutNextCommit(name, random.pick(['forwarded', 'withheld']));
  }
}
