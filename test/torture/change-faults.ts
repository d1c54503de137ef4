/** What changes under a server that runs: its clock, its certificate. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Hazard } from './hazard.ts';
import type { House } from './house.ts';

const HOUR = 3_600;
const STEPS_SECONDS = [-40 * 24 * HOUR, -25 * HOUR, -HOUR, -3, 3, HOUR, 25 * HOUR, 40 * 24 * HOUR];
/** The faked clock looks at its file once a second. */
const SEEN_AFTER_MS = 1_100;

export async function clockStep({ setClock }: House, { random, lastsMs }: Hazard): Promise<void> {
  await setClock?.(random.pick(STEPS_SECONDS));
  await sleep(SEEN_AFTER_MS + lastsMs());
  await setClock?.(0);
  await sleep(SEEN_AFTER_MS);
}

/** The files are looked at every two seconds, and used when two looks agree. */
export async function renewedCertificate({ renewCertificate }: House): Promise<void> {
  await renewCertificate?.();
  await sleep(4_500);
}
