/**
 * The order of system calls behind each 250, of the product and of PostgreSQL in one trace: the raw mail's bytes synced,
 * its name given and its directory synced; its rows committed and the commit synced; then, and only then, the reply
 * written.
 */
import assert from 'node:assert/strict';
import { dirname } from 'node:path';
import type { TestContext } from 'node:test';
import { audit } from './audit.ts';
import { openFrontDoor, SLUGS } from './front-door.ts';
import { acknowledgedIds, createLedger, isAcknowledgement } from './ledger.ts';
import { deliverOnce, startMailQueue } from './mail-queue.ts';
import { composeOrder } from './order-mail.ts';
import { openOwnPostgres } from './own-postgres.ts';
import { type Call, canTrace, trace } from './tracing.ts';

const CALLS = 'openat,write,writev,sendto,recvfrom,fdatasync,fsync,?rename,?renameat,?renameat2,?link,?linkat';
const MAILS = 40;

export async function syncedBeforeReply(t: TestContext): Promise<void> {
  if (!canTrace(t)) return;
  const postgres = await openOwnPostgres(t);
  const door = await openFrontDoor(t, { databaseUrl: postgres.url });
  const ledger = createLedger();
  // Every connection to the database is there before the trace begins.
  assert.equal((await deliverOnce(door.port, await composeOrder({ slugs: SLUGS }), ledger)).code, 250);
  const look = () => audit({ ledger, databaseUrl: door.databaseUrl, objectsDir: door.objectsDir });
  await look();
  const untraced = ledger.entries.length;

  const tracing = await trace(t, { pids: [door.product.pid, ...(await postgres.processes())], calls: CALLS });
  const queue = startMailQueue(t, { port: door.port, ledger, mails: someOrders(), connections: 4 });
  await queue.finish(60_000);
  const calls = await tracing.detach();

  const report = await look();
  assert.deepEqual([report.problems, report.orphans, report.acknowledged], [[], [], MAILS + untraced]);
  let shown = 0;
  for (const { mail, attempts } of ledger.entries.slice(untraced)) {
    const attempt = attempts.find(isAcknowledgement);
    assert.ok(attempt);
    for (const id of acknowledgedIds(attempt)) {
      assertOrder(calls, { id, toldAs: attempt.text, name: mail.messageId, serverPid: door.product.pid });
      shown++;
    }
  }
  t.diagnostic(`${shown} rows of ${MAILS} mails, in ${calls.length} system calls`);
  await door.product.stop();
}

async function* someOrders() {
  for (let count = 0; count < MAILS; count++)
    yield await composeOrder({ slugs: count % 3 === 0 ? SLUGS : ['acme'], attachmentBytes: [300] });
}

interface Row {
  readonly id: string;
  readonly toldAs: string;
  readonly name: string;
  readonly serverPid: number;
}

function assertOrder(calls: readonly Call[], { id, toldAs, name }: Row): void {
  const told = only(
    calls,
    (call) => isWrite(call) && call.text.includes(`"250 ${toldAs}\\r\\n"`),
    `the 250 of ${name}`,
  );
  const before = calls.filter((call) => call.end < told.begin);

  const named = only(
    before,
    (call) => isNaming(call) && pathsIn(call).at(-1)?.endsWith(`/${id}.eml`) === true,
    `the name of ${id}, before the 250`,
  );
  const insert = only(
    before,
    (call) => call.name === 'recvfrom' && call.text.includes(`/${id}.eml`),
    `the row of ${id} at PostgreSQL`,
  );
  const commit = committing(before, insert);
  assert.ok(commit, `${name}: its commit arrives before the 250`);

  const beforeCommit = before.filter((call) => call.end < commit.begin);
  const paths = namesOf(before, named);
  const ofFile = (call: Call): boolean => paths.some((path) => call.text.includes(`${path}>`));
  const written = before.filter((call) => call.name === 'write' && ofFile(call));
  assert.ok(written.length > 0, `${name}: its bytes are written`);
  const lastWritten = Math.max(...written.map((call) => call.end));
  const opened = before.filter((call) => isMaking(call) && paths.some((path) => call.text.includes(`"${path}"`)));
  const syncedByWriting = opened.length > 0 && opened.every(({ text }) => text.includes('O_DSYNC'));
  assert.ok(
    (syncedByWriting && lastWritten < commit.begin) ||
      beforeCommit.some((call) => call.name === 'fdatasync' && ofFile(call) && call.begin > lastWritten),
    `${name}: its file is synced with or after the last byte, and before its rows are committed`,
  );
  const directory = dirname(pathsIn(named).at(-1) ?? '');
  assert.ok(
    beforeCommit.some(
      (call) => call.name === 'fsync' && call.text.includes(`<${directory}>`) && call.begin > named.end,
    ),
    `${name}: its directory is synced after it has its name, and before its rows are committed`,
  );
  assert.ok(
    before.some((call) => call.name === 'fdatasync' && call.text.includes('/pg_wal/') && call.begin > commit.end),
    `${name}: PostgreSQL's log is synced after the commit arrived, and before the 250`,
  );
}

/** What makes a row's statement last: the COMMIT after it, or, where no BEGIN came before it, the statement itself. */
function committing(calls: readonly Call[], insert: Call): Call | undefined {
  const ofSession = calls.filter((call) => call.pid === insert.pid && call.name === 'recvfrom');
  const begun = ofSession.findLast((call) => call.begin < insert.begin && /BEGIN|COMMIT|ROLLBACK/.test(call.text));
  if (begun === undefined || !begun.text.includes('BEGIN')) return insert;
  return ofSession.find((call) => call.begin > insert.begin && isCommit(call));
}

/** The names the bytes were written and synced under; a second organisation's file is a link to the first one's. */
function namesOf(calls: readonly Call[], named: Call): readonly string[] {
  const [beside = '', name = beside] = pathsIn(named);
  if (named.name === 'openat') return [beside];
  const linked = calls.find((call) => call.name.startsWith('link') && pathsIn(call).at(-1) === beside);
  if (linked === undefined) return [beside, name];
  const [from] = pathsIn(linked);
  const first = only(calls, (call) => isNaming(call) && pathsIn(call).at(-1) === from, `the name of ${from}`);
  return namesOf(calls, first);
}

/** Of a rename or link, the last is the new name. */
const pathsIn = ({ text }: Call): readonly string[] => [...text.matchAll(/"([^"]*)"/g)].map(([, path = '']) => path);

const isWrite = ({ name }: Call): boolean => name === 'write' || name === 'writev' || name === 'sendto';
/** A small mail is made under its own name, others are linked to theirs, or renamed where they cannot be. */
const isNaming = (call: Call): boolean => /^(rename|link)/.test(call.name) || isMaking(call);
const isMaking = ({ name, text }: Call): boolean => name === 'openat' && text.includes('O_CREAT');
const isCommit = ({ text }: Call): boolean => text.includes('COMMIT\\0');

function only(calls: readonly Call[], wanted: (call: Call) => boolean, what: string): Call {
  const found = calls.filter(wanted);
  assert.equal(found.length, 1, `one call is ${what}, not ${found.length}`);
  return found[0] as Call;
}
