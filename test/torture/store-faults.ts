/** A disk that is full, that refuses, or that is not the one it was. */
import { execFile } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { withChildren } from '../durability/own-postgres.ts';
import { canTrace, trace } from '../durability/tracing.ts';
import type { Hazard } from './hazard.ts';
import type { House } from './house.ts';

const run = promisify(execFile);
/** Less than a large mail, more than a small one. */
const ROOM_BYTES = 40_000;

export async function diskFull({ folder }: House, hazard: Hazard): Promise<void> {
  if (folder === null) return;
  if (folder.whyNotFilled !== null) return hazard.missing('mount', folder.whyNotFilled);
  await folder.fill(ROOM_BYTES);
  await sleep(hazard.lastsMs());
  await folder.makeRoom();
}

/** `calls`: as after `-e trace=`. Every third one, so that some mails get through in between. */
export function objectCallFails(calls: string) {
  return async ({ door }: House, hazard: Hazard): Promise<void> => {
    if (!canTrace(hazard.t)) return;
    const pids = await withChildren(door.product.pid);
    const tracing = await trace(hazard.t, { pids, calls, inject: `${calls}:error=EIO:when=2+3` });
    await sleep(hazard.lastsMs());
    await tracing.detach();
  };
}

/**
 * No file may become larger than some size: a write is cut off in the middle, and the next one fails. `strace` cannot do it
 * to `write` alone, which a socket is written with, too.
 */
export async function writesFail({ door }: House, hazard: Hazard): Promise<void> {
  const limit = (bytes: string, pid: number) => run('prlimit', [`--fsize=${bytes}`, '--pid', String(pid)]);
  const pids = await withChildren(door.product.pid);
  const sizeBytes = String(hazard.random.integer(6_000));
  for (const pid of pids) await limit(`${sizeBytes}:unlimited`, pid);
  await sleep(hazard.lastsMs());
  // One that was killed meanwhile, and replaced, has no limit.
  for (const pid of pids) await limit('unlimited:unlimited', pid).catch(() => {});
}

/** PostgreSQL's answer is to crash, and to recover from what is on disk. */
export async function postgresSyncFails({ postgres }: House, hazard: Hazard): Promise<void> {
  if (postgres === null || !canTrace(hazard.t)) return;
  const pids = await postgres.processes();
  const tracing = await trace(hazard.t, { pids, calls: 'fdatasync', inject: 'fdatasync:error=EIO:when=5+' });
  await sleep(hazard.lastsMs());
  await tracing.detach();
}

export function storeReplaced(by: 'nothing' | 'another store') {
  return async ({ folder }: House, hazard: Hazard): Promise<void> => {
    const putBack = await folder?.replace(by);
    await sleep(hazard.lastsMs());
    await putBack?.();
  };
}

export async function storeEmptied({ folder }: House, hazard: Hazard): Promise<void> {
  const putBack = await folder?.empty();
  await sleep(hazard.lastsMs());
  await putBack?.();
}
