/** The product with everything it uses, each behind a way that can be in trouble, and senders that never stop. */
import { spawnSync } from 'node:child_process';
import { rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { makeCertificateIn, opensslProblem } from '../../src/testing/certificate.ts';
import { cleanUp } from '../../src/testing/clean-up.ts';
import { type FaultWay, openFaultWay } from '../../src/testing/fault-way.ts';
import { startTestRedis, type TestRedis } from '../../src/testing/redis.ts';
import { noS3Server, type S3TestServer, s3Environment, startS3Server } from '../../src/testing/s3-server.ts';
import { temporaryFolder } from '../../src/testing/temporary-folder.ts';
import type { AuditedPlaces } from '../durability/audited-facts.ts';
import { type CuttingProxy, openCuttingProxy } from '../durability/cutting-proxy.ts';
import { type FrontDoor, openFrontDoor } from '../durability/front-door.ts';
import { type OwnPostgres, openOwnPostgres } from '../durability/own-postgres.ts';
import { type SynchronousPair, startSynchronousPair, whyNoStandby } from '../durability/standby.ts';
import { openStoreFolder, type StoreFolder } from './store-folder.ts';

/**
 * - `one`: one process, object files on a disk of a size, a clock that can be stepped.
 * - `several`: `--processes 2`, object files, a PostgreSQL with a synchronous standby.
 * - `bucket`: one process, a bucket of an S3 server, jobs published to Redis.
 */
export const HOUSES = ['one', 'several', 'bucket'] as const;
export type HouseKind = (typeof HOUSES)[number];

export interface House {
  readonly kind: HouseKind;
  readonly door: FrontDoor;
  readonly postgresWay: FaultWay;
  readonly commits: CuttingProxy;
  readonly places: AuditedPlaces;
  /** null: not in such a house. */
  readonly postgres: OwnPostgres | null;
  readonly pair: SynchronousPair | null;
  readonly folder: StoreFolder | null;
  readonly store: { readonly server: S3TestServer; readonly way: FaultWay } | null;
  readonly redis: { readonly server: TestRedis; readonly way: FaultWay } | null;
  /** A new pair of files under the names of the old ones. */
  readonly renewCertificate: (() => Promise<void>) | null;
  /** The server's clock goes wrong by so much, from the true time on. Units: seconds. */
  readonly setClock: ((seconds: number) => Promise<void>) | null;
}

/** Ready is asked for under load, on a machine that others use, too. */
const START_WITHIN_MS = 180_000;

/** What a house cannot do without; null when all is there. Shape: the missing part, and why. */
export function missingFor(kind: HouseKind): readonly [part: string, why: string] | null {
  const openssl = opensslProblem();
  if (openssl !== null) return ['openssl', openssl];
  if (kind === 'one' && fakedClock('/dev/null') === null) return ['faketime', 'apt install faketime'];
  const standby = kind === 'several' ? whyNoStandby() : null;
  if (standby !== null) return ['a PostgreSQL with pg_basebackup', standby];
  if (kind !== 'bucket') return null;
  if (spawnSync('redis-server', ['--version']).status !== 0) return ['redis-server', 'apt install redis-server'];
  const s3 = noS3Server();
  return s3 === null ? null : ['an S3 server', s3];
}

export async function openHouse(t: TestContext, kind: HouseKind): Promise<House> {
  const dataDir = await temporaryFolder(t);
  const postgres = kind === 'several' ? null : await openOwnPostgres(t);
  const pair = kind === 'several' ? await startSynchronousPair(t) : null;
  const databaseUrl = (): string => postgres?.url ?? pair?.primaryUrl ?? '';
  const postgresWay = await openFaultWay(t, databaseUrl());
  const commits = await openCuttingProxy(t, postgresWay.url);
  const folder = kind === 'one' ? await openStoreFolder(t, dataDir) : null;
  const bucket = kind === 'bucket' ? await openBucket(t) : null;
  const redis = kind === 'bucket' ? await openRedis(t) : null;
  const certificate = await openCertificate(t);
  const clock = kind === 'one' ? await openClock(dataDir) : null;
  const door = await openFrontDoor(t, {
    databaseUrl: commits.url,
    dataDir,
    startTimeoutMs: START_WITHIN_MS,
    args: kind === 'several' ? ['--processes', '2'] : [],
    // At `info` the lines of a long run would fill our memory.
    env: { LOG_LEVEL: 'warn', ...bucket?.env, ...redis?.env, ...certificate.env, ...clock?.env },
  });
  return {
    kind,
    door,
    postgresWay,
    commits,
    get places() {
      const rest = { databaseUrl: databaseUrl(), redisUrl: redis?.server.url, restTimeoutMs: 240_000 };
      return bucket === null ? { ...rest, objectsDir: door.objectsDir } : { ...rest, bucket: bucket.audited };
    },
    postgres,
    pair,
    folder,
    store: bucket,
    redis,
    renewCertificate: certificate.renew,
    setClock: clock?.set ?? null,
  };
}

async function openBucket(t: TestContext) {
  const server = await startS3Server();
  cleanUp(t, () => server.close());
  const settings = await server.newBucket();
  const way = await openFaultWay(t, settings.endpoint);
  const audited = { client: server.client, name: settings.bucket };
  return { server, way, audited, env: s3Environment({ ...settings, endpoint: way.url }) };
}

async function openRedis(t: TestContext) {
  const server = await startTestRedis(t);
  if (server === null) throw new Error('redis-server is missing: apt install redis-server');
  const way = await openFaultWay(t, server.url);
  return { server, way, env: { REDIS_URL: way.url } };
}

async function openCertificate(t: TestContext) {
  const folder = await temporaryFolder(t);
  const inUse = makeCertificateIn(join(folder, 'in-use'));
  let made = 0;
  return {
    env: { SMTP_TLS_CERT_FILE: inUse.certFile, SMTP_TLS_KEY_FILE: inUse.keyFile },
    async renew() {
      const next = makeCertificateIn(join(folder, `next-${++made}`));
      await rename(next.keyFile, inUse.keyFile);
      await rename(next.certFile, inUse.certFile);
    },
  };
}

/** Only the server's own process sees it. A monotonic clock has no steps, also where the other has. */
async function openClock(dataDir: string) {
  const file = join(dataDir, 'clock');
  const set = async (seconds: number): Promise<void> => {
    await writeFile(`${file}.next`, `${seconds < 0 ? '' : '+'}${seconds}\n`);
    await rename(`${file}.next`, file);
  };
  await set(0);
  return { set, env: fakedClock(file) ?? {} };
}

/** Shape: the environment of a process whose clock is wrong by what stands in the file; null where there is no `faketime`. */
function fakedClock(file: string): Readonly<Record<string, string>> | null {
  const { status, stdout } = spawnSync('faketime', ['-m', '-f', '+0', 'env'], { encoding: 'utf8' });
  const library = status === 0 ? /^LD_PRELOAD=(.+)$/m.exec(stdout)?.[1] : undefined;
  if (library === undefined) return null;
  return {
    LD_PRELOAD: library,
    FAKETIME_TIMESTAMP_FILE: file,
    FAKETIME_CACHE_DURATION: '1',
    FAKETIME_DONT_FAKE_MONOTONIC: '1',
    NO_FAKE_STAT: '1',
  };
}
