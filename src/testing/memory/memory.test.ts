/** The adapters in memory pass what the real ones pass; and what a crash takes is what the simulation believes. */
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { describeJobQueue } from '../../ports/job-queue.contract.ts';
import { describeJobRunner } from '../../ports/job-runner.contract.ts';
import { describeObjectStore } from '../../ports/object-store.contract.ts';
import { describeStoreMarks } from '../../ports/store-marks.contract.ts';
import { describeTables } from '../../ports/tables.contract.ts';
import { cleanUp } from '../clean-up.ts';
import { waitFor } from '../wait-for.ts';
import { createMemoryDatabase, type JobRow } from './database.ts';
import {
  createMemoryOrganisations,
  createMemoryUnfinishedDocuments,
  createMemoryWaitingMessages,
} from './directory.ts';
import { createMemoryExtractionStore } from './extraction-store.ts';
import { openGate } from './gate.ts';
import { createMemoryJobOutbox } from './job-outbox.ts';
import { createJobQueueServer, createMemoryJobQueue, type QueuedRow } from './job-queue.ts';
import { createMemoryJobRunner } from './job-runner.ts';
import { createMemoryGapMemory, createMemoryMarkMemory } from './mark-memory.ts';
import { createMemoryMessageStore } from './message-store.ts';
import { createMemoryObjectStore, createMemoryStoreMarks } from './object-store.ts';
import { createMemoryReconciliation } from './reconciliation.ts';
import { createMount, createVolume } from './volume.ts';

const clock = (): number => Date.now();
const close = async (): Promise<void> => {};

function openStore() {
  const volume = createVolume({ clock });
  const parts = { mount: createMount(volume), gate: openGate };
  return { volume, ...parts, store: createMemoryObjectStore(parts) };
}

describeObjectStore('memory', async () => ({ store: openStore().store, close }));

describeStoreMarks('memory', async () => {
  const { mount, gate, store } = openStore();
  return {
    marks: createMemoryStoreMarks({ mount, gate }),
    others: createMemoryStoreMarks({ mount, gate }),
    objects: store,
    close,
  };
});

describeTables('memory', async () => {
  const database = createMemoryDatabase({ clock });
  const options = { database, gate: openGate };
  return {
    messages: createMemoryMessageStore(options),
    extraction: createMemoryExtractionStore(options),
    outbox: createMemoryJobOutbox(options),
    rows: createMemoryReconciliation(options),
    marks: createMemoryMarkMemory(options),
    gaps: createMemoryGapMemory(options),
    waiting: createMemoryWaitingMessages(options),
    unfinished: createMemoryUnfinishedDocuments(options),
    organisations: createMemoryOrganisations(options),
    organisation: async (slug) => {
      const id = randomUUID();
      database.transact(({ orgs }) => orgs.set(id, { id, slug, name: slug, disabled: false }));
      return id;
    },
    close,
  };
});

describeJobQueue('memory', async () => {
  const server = createJobQueueServer({ clock });
  const done = (row: QueuedRow) => server.rows.set(row.id, { ...row, state: 'done', changedAt: server.now() });
  return {
    queue: createMemoryJobQueue({ server, gate: openGate }),
    async consume() {
      const next = [...server.rows.values()].find(({ state }) => state === 'waiting');
      if (next !== undefined) done(next);
      return next?.id ?? null;
    },
  };
});

describeJobRunner('memory', async (t) => {
  const database = createMemoryDatabase({ clock });
  const { jobs } = database.tables;
  const task = 'extract_attachments';
  return {
    runner(one) {
      const runner = createMemoryJobRunner({
        database,
        gate: openGate,
        tasks: { [task]: one },
        concurrency: 2,
        pollMs: 50,
        longestDelayMs: 100,
      });
      cleanUp(t, () => runner.stop(100));
      return runner;
    },
    addJob: async (payload, o) =>
      database.transact(() => {
        database.addJob({ task, payload: payload as JobRow['payload'] });
        const added = jobs.all().at(-1);
        if (o !== undefined && added !== undefined) jobs.set(added.id, { ...added, ...o });
      }),
    countJobs: async () => jobs.all().length,
  };
});

test("a job of a worker whose connection died is another's, and not before", async (t) => {
  const database = createMemoryDatabase({ clock });
  const seen: string[] = [];
  const open = (name: string, connection: object) => {
    const run = async () => {
      seen.push(name);
      if (name === 'first') await new Promise(() => {});
    };
    const tasks = { extract_attachments: { run, giveUp: async () => {} } };
    return createMemoryJobRunner({ database, gate: openGate, tasks, concurrency: 1, pollMs: 10, connection });
  };
  const connection = {};
  await open('first', connection).start();
  database.transact(() => database.addJob({ task: 'extract_attachments', payload: {} }));
  await waitFor(() => seen.length === 1, { what: 'the first worker at work' });
  const second = open('second', {});
  cleanUp(t, () => second.stop(100));
  await second.start();
  await sleep(50);
  assert.deepEqual(seen, ['first']);
  database.endSession(connection);
  await waitFor(() => database.tables.jobs.all().length === 0, { what: 'the job done by another' });
  assert.deepEqual(seen, ['first', 'second']);
});

test('a crash of the database takes the newest commits that no disk has, and none before a durable one', () => {
  const { tables, transact, unsynced, crash } = createMemoryDatabase({ clock });
  const audit = (id: string, durable: boolean) =>
    transact(() => tables.audit.set(id, { action: id, actor: 'a', orgId: 'o' }), { durable });
  const there = () => tables.audit.all().map(({ action }) => action);
  for (const [id, durable] of [
    ['1', false],
    ['2', true],
    ['3', false],
    ['4', false],
  ] as const)
    audit(id, durable);
  assert.equal(unsynced(), 2);
  crash(1);
  assert.deepEqual(there(), ['1', '2', '3']);
  audit('5', false);
  crash(9);
  assert.deepEqual(there(), ['1', '2', '3']);
});

test('a transaction that throws leaves nothing', () => {
  const { tables, transact } = createMemoryDatabase({ clock });
  const work = () => {
    tables.audit.set('1', { action: '1', actor: 'a', orgId: 'o' });
    throw new Error('refused');
  };
  assert.throws(() => transact(work), /refused/);
  assert.deepEqual(tables.audit.all(), []);
});

test('a power failure takes what was not synced, and brings back what was taken away', async () => {
  const { volume, store } = openStore();
  await store.put('a/synced.eml', Buffer.from('1'));
  volume.write('a/unsynced.eml', Buffer.from('2'));
  volume.write('a/synced.eml', Buffer.from('3'));
  volume.powerFails();
  assert.deepEqual([volume.keys(), volume.read('a/synced.eml')?.bytes.toString()], [['a/synced.eml'], '1']);
  await store.remove('a/synced.eml');
  assert.deepEqual(volume.keys(), []);
  volume.powerFails();
  assert.deepEqual(volume.keys(), ['a/synced.eml']);
});
