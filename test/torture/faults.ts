/** Every fault, and in which houses it can be met. */
import { clockStep, renewedCertificate } from './change-faults.ts';
import { freezePostgres, freezeProcess, freezeRedis, freezeServer, freezeStore } from './freeze-faults.ts';
import type { Hazard } from './hazard.ts';
import type { House, HouseKind } from './house.ts';
import {
  commitCut,
  failOver,
  killBackend,
  killPostgres,
  killProcess,
  killRedis,
  killServer,
  killStore,
} from './kill-faults.ts';
import {
  diskFull,
  objectCallFails,
  postgresSyncFails,
  storeEmptied,
  storeReplaced,
  writesFail,
} from './store-faults.ts';
import { wayTrouble } from './way-faults.ts';

export interface Fault {
  readonly houses: readonly HouseKind[];
  /** Resolves when the fault is over; whether mail is taken again is for the caller to see. */
  readonly meet: (house: House, hazard: Hazard) => Promise<void>;
}

const EVERYWHERE: readonly HouseKind[] = ['one', 'several', 'bucket'];

export const faults = {
  'kill-server': { houses: EVERYWHERE, meet: killServer },
  'kill-process': { houses: ['several'], meet: killProcess },
  'kill-postgres': { houses: ['one', 'bucket'], meet: killPostgres },
  'kill-backend': { houses: ['one', 'bucket'], meet: killBackend },
  'kill-redis': { houses: ['bucket'], meet: killRedis },
  'kill-store': { houses: ['bucket'], meet: killStore },
  'failover-killed': { houses: ['several'], meet: failOver('killed') },
  'failover-fenced': { houses: ['several'], meet: failOver('fenced') },
  'commit-cut': { houses: EVERYWHERE, meet: commitCut },
  'freeze-server': { houses: ['one', 'bucket'], meet: freezeServer },
  'freeze-process': { houses: ['several'], meet: freezeProcess },
  'freeze-postgres': { houses: ['one', 'bucket'], meet: freezePostgres },
  'freeze-redis': { houses: ['bucket'], meet: freezeRedis },
  'freeze-store': { houses: ['bucket'], meet: freezeStore },
  'postgres-latency': { houses: EVERYWHERE, meet: wayTrouble('postgres', 'latency') },
  'postgres-reset': { houses: EVERYWHERE, meet: wayTrouble('postgres', 'reset') },
  'postgres-silence': { houses: EVERYWHERE, meet: wayTrouble('postgres', 'silence') },
  'postgres-cut': { houses: EVERYWHERE, meet: wayTrouble('postgres', 'cut') },
  'postgres-bandwidth': { houses: EVERYWHERE, meet: wayTrouble('postgres', 'bandwidth') },
  'store-latency': { houses: ['bucket'], meet: wayTrouble('store', 'latency') },
  'store-reset': { houses: ['bucket'], meet: wayTrouble('store', 'reset') },
  'store-silence': { houses: ['bucket'], meet: wayTrouble('store', 'silence') },
  'store-cut': { houses: ['bucket'], meet: wayTrouble('store', 'cut') },
  'store-bandwidth': { houses: ['bucket'], meet: wayTrouble('store', 'bandwidth') },
  'redis-latency': { houses: ['bucket'], meet: wayTrouble('redis', 'latency') },
  'redis-reset': { houses: ['bucket'], meet: wayTrouble('redis', 'reset') },
  'redis-silence': { houses: ['bucket'], meet: wayTrouble('redis', 'silence') },
  'redis-cut': { houses: ['bucket'], meet: wayTrouble('redis', 'cut') },
  'redis-bandwidth': { houses: ['bucket'], meet: wayTrouble('redis', 'bandwidth') },
  'disk-full': { houses: ['one'], meet: diskFull },
  'object-sync-error': { houses: ['one', 'several'], meet: objectCallFails('fdatasync,fsync') },
  'object-open-error': { houses: ['one', 'several'], meet: objectCallFails('openat') },
  'object-write-error': { houses: ['one', 'several'], meet: writesFail },
  'postgres-sync-error': { houses: ['one', 'bucket'], meet: postgresSyncFails },
  'store-unmounted': { houses: ['one'], meet: storeReplaced('nothing') },
  'store-swapped': { houses: ['one'], meet: storeReplaced('another store') },
  'store-emptied': { houses: ['one'], meet: storeEmptied },
  'clock-step': { houses: ['one'], meet: clockStep },
  'renewed-certificate': { houses: EVERYWHERE, meet: renewedCertificate },
} satisfies Record<string, Fault>;

export type FaultName = keyof typeof faults;
export const FAULT_NAMES = Object.keys(faults) as readonly FaultName[];
