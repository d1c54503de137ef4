/** Trouble on the way to one of the servers that the product uses. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Random } from '../../scripts/mail-mutations.ts';
import type { FaultWay, WayTrouble } from '../../src/testing/fault-way.ts';
import type { Hazard } from './hazard.ts';
import type { House } from './house.ts';

export function wayTrouble(to: 'postgres' | 'store' | 'redis', kind: WayTrouble['kind']) {
  return async (house: House, hazard: Hazard): Promise<void> => {
    const way: FaultWay | undefined = to === 'postgres' ? house.postgresWay : house[to]?.way;
    way?.begin(drawn(kind, hazard.random));
    await sleep(hazard.lastsMs());
    way?.end();
  };
}

function drawn(kind: WayTrouble['kind'], random: Random): WayTrouble {
  switch (kind) {
    case 'latency':
      return { kind, delayMs: 5 + random.integer(200) };
    case 'cut':
      return { kind, afterBytes: 1 + random.integer(20_000) };
    case 'bandwidth':
      return { kind, bytesPerSecond: 2_000 + random.integer(50_000) };
    default:
      return { kind };
  }
}
