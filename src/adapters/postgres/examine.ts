/**
 * What `doctor` says of the database: can it be reached, does it keep what it commits, may our login do its work? What of
 * that keeps mail from being taken stops `start` too, in the same words.
 */
import type pg from 'pg';
import { clockFinding } from '../../ports/clock-offset.ts';
import { broken, type Finding, ok } from '../../ports/finding.ts';
import { type ConnectionUrl, renewable } from '../../ports/renewable-url.ts';
import { assertVersion, connectFault, DatabaseConnectError, openForExamination } from './connect.ts';
import { type ConnectionNeed, examineRoom } from './examine-connections.ts';
import { examineLogin } from './examine-login.ts';
import { examineNextStage } from './examine-next-stage.ts';
import { examinePostmaster } from './examine-postmaster.ts';
import { examineSchema } from './examine-schema.ts';
import { examineServer, judgeEncoding, judgeWriting, readServerFacts } from './examine-server.ts';
import { connectWith } from './login.ts';
import { isServerError, settingsFor } from './pool.ts';
import { handsSessionsOver } from './pooler.ts';
import { applySettings } from './session.ts';

const INSUFFICIENT_PRIVILEGE = '42501';

export interface ExamineDatabaseOptions {
  readonly url: ConnectionUrl;
  /** Ours, under DATA_DIR: its clock is this machine's, and nobody sets `DATABASE_URL`. */
  readonly embedded: boolean;
  /** What all processes of one `start` open together. */
  readonly needed: ConnectionNeed;
  /** Slug of the organisation that mail to postmaster is recorded for. */
  readonly postmasterOrg: string | null;
}

/** Reads only. Never rejects for a fault of the database: that is a finding. */
export async function examineDatabase(o: ExamineDatabaseOptions): Promise<readonly Finding[]> {
  return asTheServer(o.url, async (client, handedOver) => {
    const facts = await readServerFacts(client);
    return [
      ...examineServer(facts, o.embedded),
      ...(handedOver ? [HANDED_OVER] : []),
      ...(await examineRoom({ client, url: renewable(o.url).current, facts, needed: o.needed })),
      ...(o.embedded ? [] : [await examineClock(client)]),
      ...(await examineLogin(client)),
      ...(await examineSchema(client, o.embedded).catch(unlessDenied)),
      ...(await examineNextStage(client).catch(unlessDenied)),
      ...(await examinePostmaster(client, o.postmasterOrg).catch(unlessDenied)),
    ];
  }).catch((error: unknown) => {
    if (error instanceof ConnectFault) return [broken('database', error.message, whatToMend(o.embedded))];
    throw error;
  });
}

/** The database is there, and is none that mail can be taken with; the message is doctor's. */
export class DatabaseUnfitError extends DatabaseConnectError {
  /** It may be another one in a moment: a standby is promoted, or the address moves to the primary. */
  readonly passing: boolean;
  constructor(lasting: readonly Finding[], passing: readonly Finding[]) {
    super(
      [...lasting, ...passing].map(({ found, mend }) => `DATABASE_URL: ${found}; to mend: ${mend ?? 'ask'}`).join('\n'),
    );
    this.passing = lasting.length === 0;
  }
}

/**
 * Finds out at start what would otherwise be found out by the first mail.
 * Errors: `DatabaseUnfitError`; `DatabaseConnectError` when it cannot be reached, or is too old.
 */
export async function assertFit(url: ConnectionUrl): Promise<void> {
  const [lasting, passing] = await asTheServer(url, startFaults).catch((error: unknown) => {
    if (error instanceof ConnectFault)
      throw new DatabaseConnectError(`DATABASE_URL: ${error.message}`, { cause: error });
    throw error;
  });
  if (lasting.length + passing.length > 0) throw new DatabaseUnfitError(lasting, passing);
}

/** Shape: those that last, and those that may pass. */
async function startFaults(
  client: pg.Client,
  handedOver: boolean,
): Promise<readonly [readonly Finding[], readonly Finding[]]> {
  if (handedOver) return [[HANDED_OVER], []];
  await assertVersion(client);
  const facts = await readServerFacts(client);
  const login = (await examineLogin(client)).filter(({ state }) => state === 'broken');
  return [[...judgeEncoding(facts), ...login], judgeWriting(facts)];
}

const HANDED_OVER = broken(
  'database',
  'there is a pooler in between that changes the server process between transactions (transaction mode)',
  'connect directly, or set the pooler to session mode: job queue and locks live in the session',
);

class ConnectFault extends Error {}

/**
 * Runs the work on a connection made as the server makes its own. Its settings come after the look for a pooler: where
 * sessions are handed over, they would be somebody else's.
 * Errors: `ConnectFault` when there is no connection to be had.
 */
async function asTheServer<T>(
  url: ConnectionUrl,
  work: (client: pg.Client, handedOver: boolean) => Promise<T>,
): Promise<T> {
  const one = await connected(url, () => connectWith(url, openForExamination));
  let other: pg.Client | undefined;
  try {
    const handedOver = await connected(url, async () => {
      other = await connectWith(url, openForExamination);
      const result = await handsSessionsOver(one, other);
      if (!result) await applySettings(one, settingsFor({}));
      return result;
    });
    return await work(one, handedOver);
  } finally {
    await Promise.allSettled([one.end(), other?.end()]);
  }
}

async function connected<T>(url: ConnectionUrl, connecting: () => Promise<T>): Promise<T> {
  try {
    return await connecting();
  } catch (error) {
    throw new ConnectFault(connectFault(renewable(url).current, error), { cause: error });
  }
}

/** A login that may not even read them was told so already. */
function unlessDenied(error: unknown): readonly Finding[] {
  if (isServerError(error) && error.code === INSUFFICIENT_PRIVILEGE) return [];
  throw error;
}

const whatToMend = (embedded: boolean): string =>
  embedded ? 'see postgres.log in DATA_DIR/postgres' : 'mend that, or set DATABASE_URL to the right database';

async function examineClock(client: pg.Client): Promise<Finding> {
  const askedAtMs = Date.now();
  const { rows } = await client.query<{ now: Date }>('SELECT clock_timestamp() AS now');
  const answeredAtMs = Date.now();
  const now = rows[0]?.now;
  if (now === undefined) return ok('clock', 'the database server does not tell the time');
  return clockFinding({ other: 'the database server', otherNowMs: now.getTime(), askedAtMs, answeredAtMs });
}
