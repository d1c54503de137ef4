/**
 * `npm run soak [-- --only NAME…]`: the durability tests at length; an hour or so. Ends with 1 when a promise was broken.
 * The short versions run with `npm test`.
 */
import { type TestContext, test } from 'node:test';
import { parseArgs } from 'node:util';
import { commitsCutUnderLoad } from '../test/durability/commit-cut.ts';
import { postgresHangsUnderLoad } from '../test/durability/hanging.ts';
import { killServerUnderLoad } from '../test/durability/kill-server.ts';
import { killEmbeddedPostgresUnderLoad, postgresAwayUnderLoad } from '../test/durability/postgres-down.ts';
import { relayKilled } from '../test/durability/redis-relay.ts';
import { stopServerUnderLoad } from '../test/durability/stop-server.ts';
import { workerKilledHalfWay } from '../test/durability/worker-faults.ts';

const { values } = parseArgs({
  options: {
    only: { type: 'string', multiple: true },
    kills: { type: 'string', default: '200' },
    minutes: { type: 'string', default: '10' },
  },
});
const kills = Number(values.kills);
const told = (line: string): void => console.log(`${new Date().toISOString().slice(11, 19)} ${line}`);
/** Some mails a second are enough to meet every moment, and fill no disk in an hour. */
const pauseMs = 150;

const soaks = {
  'kill-server': (t) => killServerUnderLoad(t, { kills, lifeMs: 2_000, pauseMs, told }),
  'stop-server': (t) =>
    stopServerUnderLoad(t, { stops: Number(values.minutes) * 6, lifeMs: 10_000 - 2_000, pauseMs, told }),
  'kill-postmaster': (t) => killEmbeddedPostgresUnderLoad(t, { kills: 20, whole: false, pauseMs, told }),
  'kill-postgres': (t) => killEmbeddedPostgresUnderLoad(t, { kills: 20, whole: true, pauseMs, told }),
  'postgres-away': (t) => postgresAwayUnderLoad(t, { kills: 10, awayMs: 20_000, pauseMs, told }),
  'postgres-hangs': (t) => postgresHangsUnderLoad(t, { hangs: 10, hangMs: 40_000, told }),
  'commit-cut': (t) => commitsCutUnderLoad(t, { cuts: 500, pauseMs: 20, told }),
  'kill-relay': (t) => relayKilled(t, { kills, told }),
  'kill-worker': (t) => workerKilledHalfWay(t, { kills: 10, told }),
} satisfies Record<string, (t: TestContext) => Promise<void>>;

const wanted = values.only ?? Object.keys(soaks);
const unknown = wanted.find((name) => !(name in soaks));
if (unknown !== undefined) {
  console.error(`no soak ${unknown}; there are ${Object.keys(soaks).join(', ')}`);
  process.exit(2);
}
for (const [name, soak] of Object.entries(soaks)) if (wanted.includes(name)) test(name, soak);
