/**
 * `npm run soak [-- --only NAME…]`: the durability tests at length. Ends with 1 when a promise was broken.
 * The short versions run with `npm test`.
 */
import { type TestContext, test } from 'node:test';
import { Option } from 'commander';
import { commitsCutUnderLoad } from '../test/durability/commit-cut.ts';
import { postgresHangsUnderLoad } from '../test/durability/hanging.ts';
import { killServerUnderLoad } from '../test/durability/kill-server.ts';
import { killEmbeddedPostgresUnderLoad, postgresAwayUnderLoad } from '../test/durability/postgres-down.ts';
import { relayKilled } from '../test/durability/redis-relay.ts';
import { stopServerUnderLoad } from '../test/durability/stop-server.ts';
import { workerKilledHalfWay } from '../test/durability/worker-faults.ts';
import { countArgument, scriptCommand } from './script-command.ts';

const told = (line: string): void => console.log(`${new Date().toISOString().slice(11, 19)} ${line}`);
/** Some mails a second are enough to meet every moment, and fill no disk in an hour. */
const pauseMs = 150;

interface Lengths {
  readonly kills: number;
  readonly minutes: number;
}

const soaks = {
  'kill-server': (t, { kills }) => killServerUnderLoad(t, { kills, lifeMs: 2_000, pauseMs, told }),
  'stop-server': (t, { minutes }) =>
    stopServerUnderLoad(t, { stops: minutes * 6, lifeMs: 10_000 - 2_000, pauseMs, told }),
  'kill-postmaster': (t) => killEmbeddedPostgresUnderLoad(t, { kills: 20, whole: false, pauseMs, told }),
  'kill-postgres': (t) => killEmbeddedPostgresUnderLoad(t, { kills: 20, whole: true, pauseMs, told }),
  'postgres-away': (t) => postgresAwayUnderLoad(t, { kills: 10, awayMs: 20_000, pauseMs, told }),
  'postgres-hangs': (t) => postgresHangsUnderLoad(t, { hangs: 10, hangMs: 40_000, told }),
  'commit-cut': (t) => commitsCutUnderLoad(t, { cuts: 500, pauseMs: 20, told }),
  'kill-relay': (t, { kills }) => relayKilled(t, { kills, told }),
  'kill-worker': (t) => workerKilledHalfWay(t, { kills: 10, told }),
} satisfies Record<string, (t: TestContext, lengths: Lengths) => Promise<void>>;

const options = scriptCommand('soak', 'the durability tests at length: an hour or so, all of them')
  .addOption(new Option('--only <name...>', 'only these').choices(Object.keys(soaks)))
  .option('--kills <count>', 'of the server, or the relay', countArgument, 200)
  .option('--minutes <minutes>', 'of stopping the server again and again', countArgument, 10)
  .parse()
  .opts<Lengths & { readonly only?: readonly string[] }>();

for (const [name, soak] of Object.entries(soaks)) {
  if (options.only?.includes(name) ?? true) test(name, (t) => soak(t, options));
}
