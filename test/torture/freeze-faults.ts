/** SIGSTOP: connections stay, and nobody answers. */
import { setTimeout as sleep } from 'node:timers/promises';
import { signal, withChildren } from '../durability/own-postgres.ts';
import type { Hazard } from './hazard.ts';
import type { House } from './house.ts';

export async function freezeServer({ door }: House, hazard: Hazard): Promise<void> {
  await stopped(await withChildren(door.product.pid), hazard.lastsMs());
}

/** One of several, while the others go on. */
export async function freezeProcess({ door }: House, hazard: Hazard): Promise<void> {
  const [, ...children] = await withChildren(door.product.pid);
  await stopped([hazard.random.pick(children)], hazard.lastsMs());
}

async function stopped(pids: readonly number[], lastsMs: number): Promise<void> {
  for (const pid of pids) signal(pid, 'SIGSTOP');
  await sleep(lastsMs);
  for (const pid of pids) signal(pid, 'SIGCONT');
}

export async function freezePostgres({ postgres }: House, hazard: Hazard): Promise<void> {
  await postgres?.suspend();
  await sleep(hazard.lastsMs());
  await postgres?.resume();
}

export async function freezeRedis({ redis }: House, hazard: Hazard): Promise<void> {
  redis?.server.freeze();
  await sleep(hazard.lastsMs());
  redis?.server.thaw();
}

export async function freezeStore({ store }: House, hazard: Hazard): Promise<void> {
  await store?.server.freeze();
  await sleep(hazard.lastsMs());
  await store?.server.thaw();
}
