/** The processes that run all the time: each is started again a moment after it died. */
import { setTimeout as sleep } from 'node:timers/promises';
import { startConsumer } from './consumer.ts';
import type { House } from './house.ts';
import { type SimulatedServer, startServer } from './server.ts';
import type { Actor } from './world.ts';

const SERVERS = 2;
const RESTART_MS = 4_000;

export interface Staff {
  /** Those that take mail. */
  servers(): readonly SimulatedServer[];
  alive(): readonly Actor[];
}

export function startStaff(house: House): Staff {
  const { world } = house;
  const actors = new Set<Actor>();
  let servers: readonly SimulatedServer[] = [];

  const keepUp = async (name: string, start: (actor: Actor) => void): Promise<void> => {
    for (let life = 1; ; life++) {
      const actor = house.actor(`${name}.${life}`);
      actors.add(actor);
      actor.run(() => start(actor));
      await actor.died;
      actors.delete(actor);
      servers = servers.filter((server) => server.actor !== actor);
      await sleep(300 + world.chance.integer(RESTART_MS));
    }
  };
  const serve = (actor: Actor): void => {
    startServer(house, actor).then(
      (server) => {
        servers = [...servers, server];
      },
      () => world.kill(actor),
    );
  };
  for (let n = 1; n <= SERVERS; n++) void keepUp(`server ${n}`, serve);
  void keepUp('consumer', (actor) => startConsumer(house, actor));
  return { servers: () => servers, alive: () => [...actors] };
}
