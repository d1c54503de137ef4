/**
 * What the ports of the database do, whatever is below them: one suite over the ports of one set of tables, because what one
 * port writes another one reads. An adapter's test file runs it with the real thing.
 */
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { newMessage } from '../testing/postgres-fixtures.ts';
import type { ExtractionResult, ExtractionStore, MessageToExtract, NewDocument } from './extraction-store.ts';
import type { GapMemory } from './gap-memory.ts';
import type { JobOutbox, WaitingJob } from './job-outbox.ts';
import { type MessageStore, type NewMessage, RecordError, type Recorded } from './message-store.ts';
import type { OrganisationDirectory } from './organisations.ts';
import type { Reconciliation } from './reconciliation.ts';
import type { MarkMemory } from './store-marks.ts';
import type { UnfinishedDocuments } from './unfinished-documents.ts';
import type { WaitingMessages } from './waiting-messages.ts';

export interface OpenedTables {
  readonly messages: MessageStore;
  readonly extraction: ExtractionStore;
  readonly outbox: JobOutbox;
  readonly rows: Reconciliation;
  readonly marks: MarkMemory;
  readonly gaps: GapMemory;
  readonly waiting: WaitingMessages;
  readonly unfinished: UnfinishedDocuments;
  readonly organisations: OrganisationDirectory;
  /** Shape: the id of a new one. */
  readonly organisation: (slug: string) => Promise<string>;
  readonly close: () => Promise<void>;
}

const DEADLINE_MS = 30_000;
/** Clocks of the test and of the database. */
const TOLERANCE_MS = 5_000;

/** `open`: empty tables, for each test its own. */
export function describeTables(name: string, open: () => Promise<OpenedTables>): void {
  const test = (title: string, work: (tables: OpenedTables) => Promise<void>) =>
    it(title, { timeout: DEADLINE_MS }, async () => {
      const tables = await open();
      try {
        await work(tables);
      } finally {
        await tables.close();
      }
    });

  describe(`${name} as a MessageStore`, () => {
    test('the first of an identity is accepted, the same content again a duplicate, other content a conflict', async (tables) => {
      const [acme, globex] = [await tables.organisation('acme'), await tables.organisation('globex')];
      const sourceMessageId = '<one@buyer.example>';
      const first = newMessage(acme, { sourceMessageId });
      const other = newMessage(acme, {
        sourceMessageId,
        contentSha256: 'f'.repeat(64),
        contentSha256V1: 'e'.repeat(64),
      });
      const elsewhere = newMessage(globex, { sourceMessageId });
      assert.deepEqual(await one(tables, first), { outcome: 'accepted', id: first.id });
      assert.deepEqual(await one(tables, { ...first, ...ids(acme) }), { outcome: 'duplicate', id: first.id });
      assert.deepEqual(await one(tables, other), { outcome: 'conflict', id: other.id });
      assert.deepEqual(await one(tables, { ...other, ...ids(acme) }), { outcome: 'duplicate', id: other.id });
      assert.deepEqual(await one(tables, elsewhere), { outcome: 'accepted', id: elsewhere.id });
      const jobs = await waitingJobs(tables, 'extract_attachments');
      assert.deepEqual(
        jobs.map(({ payload }) => payload),
        [first, elsewhere].map(({ id, orgId, traceId }) => ({
          inbound_message_id: id,
          org_id: orgId,
          trace_id: traceId,
        })),
      );
    });

    test('finds duplicates within one call', async (tables) => {
      const acme = await tables.organisation('acme');
      const first = newMessage(acme);
      const outcomes = await tables.messages.record([[first], [{ ...first, ...ids(acme) }]]);
      const recorded = outcomes.flatMap((each) => (each instanceof RecordError ? [] : each));
      assert.deepEqual(recorded.map(({ outcome }) => outcome).sort(), ['accepted', 'duplicate']);
      assert.equal(new Set(recorded.map(({ id }) => id)).size, 1);
    });

    test('an envelope is recorded for all of its organisations or for none', async (tables) => {
      const acme = await tables.organisation('acme');
      const [known, unknown] = [newMessage(acme), newMessage(randomUUID())];
      await assert.rejects(tables.messages.record([[known, unknown]]), { name: 'RecordError', code: 'refused' });
      assert.deepEqual(await waitingJobs(tables, 'extract_attachments'), []);
      assert.deepEqual(await one(tables, known), { outcome: 'accepted', id: known.id });
    });
  });

  describe(`${name} as an ExtractionStore`, () => {
    test('a message is taken by its own organisation, and finished once, with a job for each stored document', async (tables) => {
      const message = await takenMessage(tables);
      assert.equal(await tables.extraction.take(message.id, randomUUID()), null);
      const [stored, failed] = [document(message), failedDocument(message)];
      assert.equal(await tables.extraction.finish(message, result([stored, failed])), true);
      assert.equal(await tables.extraction.finish(message, result([document(message, { partPath: '3' })])), false);
      assert.equal((await tables.extraction.take(message.id, message.orgId))?.status, 'PARSED');
      const jobs = await waitingJobs(tables, 'extract_document');
      const payload = { document_id: stored.id, org_id: message.orgId, trace_id: message.traceId };
      assert.deepEqual(
        jobs.map((job) => job.payload),
        [payload],
      );
      assert.equal(await tables.unfinished.find(randomUUID()), null);
      const facts = { orgId: message.orgId, traceId: message.traceId };
      const found = [await tables.unfinished.find(stored.id), await tables.unfinished.find(failed.id)];
      assert.deepEqual(found, [
        { id: stored.id, ...facts, status: 'STORED', stored: true, waits: true },
        { id: failed.id, ...facts, status: 'FAILED', stored: false, waits: false },
      ]);
      assert.equal(await tables.unfinished.countStored([stored.id, failed.id]), 1);
    });

    test('a message that failed has the error, and no document of another reading', async (tables) => {
      const message = await takenMessage(tables);
      const failure = { code: 'limit-exceeded', message: 'too deep' } as const;
      assert.equal(await tables.extraction.finish(message, { ...result([]), failure }), true);
      assert.equal((await tables.extraction.take(message.id, message.orgId))?.status, 'FAILED');
      assert.deepEqual(await waitingJobs(tables, 'extract_document'), []);
    });

    test('unfinished documents come by page, the oldest first, each once', async (tables) => {
      const message = await takenMessage(tables);
      const documents = ['1', '2', '3'].map((partPath) => document(message, { partPath }));
      await tables.extraction.finish(message, result(documents));
      const before = new Date(Date.now() + 60_000);
      const seen: string[] = [];
      for (let after = null as Awaited<ReturnType<UnfinishedDocuments['page']>>['next']; ; ) {
        const page = await tables.unfinished.page({ before, after, limit: 2 });
        seen.push(...page.documents.map(({ id }) => id));
        if (page.next === null) break;
        after = page.next;
      }
      assert.deepEqual(seen.sort(), documents.map(({ id }) => id).sort());
      const none = await tables.unfinished.page({ before: new Date(0), after: null, limit: 2 });
      assert.deepEqual(none, { documents: [], next: null });
    });
  });

  describe(`${name} as a JobOutbox`, () => {
    const task = 'extract_attachments';

    test('what is delivered is gone, what cannot be delivered waits as before, and nobody else has it meanwhile', async (tables) => {
      const acme = await tables.organisation('acme');
      for (let n = 0; n < 3; n++) await one(tables, newMessage(acme, { sourceMessageId: `<${n}@buyer.example>` }));
      const all = await waitingJobs(tables, task);
      assert.equal(all.length, 3);
      const inner: string[] = [];
      const taken = await tables.outbox.handOver({
        task,
        limit: 2,
        deliver: async (jobs) => {
          inner.push(...(await waitingJobs(tables, task)).map(({ id }) => id));
          assert.deepEqual(jobs, all.slice(0, 2));
          return [];
        },
      });
      assert.equal(taken, 2);
      assert.deepEqual(inner, [all[2]?.id]);
      assert.deepEqual(await waitingJobs(tables, task), all.slice(2));
    });

    test('one that can never be delivered is out of the way', async (tables) => {
      const acme = await tables.organisation('acme');
      await one(tables, newMessage(acme));
      const deliver = async (jobs: readonly WaitingJob[]) => jobs.map(({ id }) => ({ id, reason: 'not a job' }));
      assert.equal(await tables.outbox.handOver({ task, limit: 9, deliver }), 1);
      assert.equal(await tables.outbox.handOver({ task, limit: 9, deliver }), 0);
    });
  });

  describe(`${name} as a Reconciliation`, () => {
    test('knows what every row names, and which messages are still to be read', async (tables) => {
      const message = await takenMessage(tables);
      const stored = document(message);
      const kept = newMessage(message.orgId, {
        sourceMessageId: message.sourceMessageId,
        contentSha256: 'f'.repeat(64),
        contentSha256V1: 'e'.repeat(64),
      });
      await one(tables, kept);
      const { rows } = tables;
      const open = async () => (await rows.page('message', null, 9)).map((row) => row.open);
      const extracting = () => rows.extracting([message.orgId], new Date());
      assert.deepEqual([await open(), await extracting()], [[true], new Set([message.orgId])]);
      await tables.extraction.finish(message, result([stored]));
      assert.deepEqual([await open(), await extracting()], [[false], new Set()]);
      assert.deepEqual(
        (await Promise.all((['conflict', 'document'] as const).map((kind) => rows.page(kind, null, 9)))).flat(),
        [kept, { ...stored, rawStorageKey: stored.storageKey }].map(({ id, rawStorageKey }) => ({
          id,
          orgId: message.orgId,
          storageKey: rawStorageKey,
          open: false,
        })),
      );
      assert.deepEqual(await rows.page('message', message.id, 9), []);
      const keys = [message.rawStorageKey, kept.rawStorageKey, stored.storageKey ?? ''];
      assert.deepEqual(await rows.named([...keys, 'nobody/s.eml']), new Set(keys));
      const asked = [
        { id: message.id, key: message.rawStorageKey },
        { id: kept.id, key: message.rawStorageKey },
        { id: randomUUID(), key: kept.rawStorageKey },
      ];
      assert.deepEqual(
        [...(await rows.notNamedById(asked))].sort(),
        [message.rawStorageKey, kept.rawStorageKey].sort(),
      );
      assert.deepEqual(await rows.slugs([message.orgId, randomUUID()]), new Map([[message.orgId, 'acme']]));
      assert.deepEqual(await Promise.all([message.id, kept.id, stored.id].map((id) => rows.rawKeyOf(id))), [
        message.rawStorageKey,
        kept.rawStorageKey,
        null,
      ]);
      assert.ok(Math.abs((await rows.now()).getTime() - Date.now()) < TOLERANCE_MS);
    });

    test('fails a message that is still open, and gives one without a job another', async (tables) => {
      const acme = await tables.organisation('acme');
      const [first, second] = [newMessage(acme), newMessage(acme)];
      await tables.messages.record([[first], [second]]);
      assert.equal(await tables.rows.countMissingJobs(), 0);
      await tables.outbox.handOver({ task: 'extract_attachments', limit: 9, deliver: async () => [] });
      assert.equal(await tables.rows.countMissingJobs(), 2);
      assert.equal(await tables.rows.fail(first.id), true);
      assert.equal(await tables.rows.fail(first.id), false);
      assert.equal((await tables.extraction.take(first.id, acme))?.status, 'FAILED');
      assert.deepEqual([await tables.rows.addMissingJobs(9), await tables.rows.addMissingJobs(9)], [1, 0]);
      const [job] = await waitingJobs(tables, 'extract_attachments');
      const payload = { inbound_message_id: second.id, org_id: acme, trace_id: second.traceId };
      assert.deepEqual(job?.payload, payload);
      assert.deepEqual(
        (await tables.rows.page('message', null, 9)).map(({ id }) => id),
        [second.id],
      );
    });
  });

  describe(`${name} as a MarkMemory and a GapMemory`, () => {
    test('a mark is known once it is remembered, and others are forgotten when it is to be the only one', async ({
      marks,
    }) => {
      const [first, second] = [randomUUID(), randomUUID()];
      assert.deepEqual(await marks.recall([first, 'not an id']), { known: [], confirmed: false });
      await marks.remember(first);
      assert.deepEqual(await marks.recall([first]), { known: [{ id: first, fresh: true }], confirmed: false });
      await marks.confirm(first, { beside: [] });
      await aMoment();
      await marks.remember(second);
      const both = [first, second].map((id) => ({ id, fresh: true }));
      assert.deepEqual(await marks.recall([second, first]), { known: both, confirmed: true });
      await marks.confirm(second, { beside: [], only: true });
      assert.deepEqual(await marks.recall([first, second]), { known: both.slice(1), confirmed: true });
    });

    test('the newest mails bear witness', async (tables) => {
      const acme = await tables.organisation('acme');
      const mails = Array.from({ length: 6 }, () => newMessage(acme)).sort((a, b) => (a.id < b.id ? 1 : -1));
      await tables.messages.record(mails.map((mail) => [mail]));
      assert.deepEqual(
        await tables.marks.witnesses(),
        mails.slice(0, 5).map(({ rawStorageKey }) => rawStorageKey),
      );
    });

    test('a gap begins with the last mark, grows, and has a count until it has grown', async ({ marks, gaps }) => {
      assert.equal(await gaps.recall(), null);
      const id = randomUUID();
      await marks.remember(id);
      await marks.confirm(id, { beside: [] });
      const open = await marks.openGap();
      await marks.rememberGap();
      const [gap, ...others] = await marks.gaps();
      assert.deepEqual([gap?.begins, others], [open.begins, []]);
      assert.ok(gap !== undefined && gap.ends >= open.ends);
      assert.deepEqual(await gaps.recall(), { ...gap, objects: null });
      await gaps.remember({ mails: 2, documents: 1 }, gap.ends);
      assert.deepEqual((await gaps.recall())?.objects, { mails: 2, documents: 1 });
      await aMoment();
      await marks.rememberGap();
      assert.equal((await marks.gaps()).length, 1);
      assert.equal((await gaps.recall())?.objects, null);
    });
  });

  describe(`${name} as a directory, and as WaitingMessages`, () => {
    test('each organisation that has messages waiting has its turn', async (tables) => {
      const orgs = [await tables.organisation('acme'), await tables.organisation('globex')].sort();
      const [first = '', second = ''] = orgs;
      const mails = orgs.map((orgId) => newMessage(orgId));
      await tables.messages.record(mails.map((mail) => [mail]));
      const next = async (after: string, except: readonly string[]) =>
        (await tables.waiting.next({ after, except }))?.inboundMessageId ?? null;
      assert.equal(await next(first, []), mails[1]?.id);
      assert.equal(await next(second, []), mails[0]?.id);
      assert.equal(await next(first, [second]), mails[0]?.id);
      assert.equal(await next(first, orgs), null);
      await tables.extraction.take(mails[0]?.id ?? '', first);
      assert.equal(await next(second, []), mails[1]?.id);
      assert.equal((await tables.organisations.findBySlug('globex'))?.slug, 'globex');
      assert.equal(await tables.organisations.findBySlug('nobody'), null);
    });
  });
}

/** Longer than two clocks need to differ. */
const aMoment = (): Promise<void> => sleep(5);

/** What makes a second arrival of a mail another row to be. */
function ids(orgId: string): Pick<NewMessage, 'id' | 'rawStorageKey'> {
  const id = randomUUID();
  return { id, rawStorageKey: `${orgId}/2026/03/${id}.eml` };
}

async function one({ messages }: OpenedTables, message: NewMessage): Promise<Recorded | undefined> {
  const [recorded] = await messages.record([[message]]);
  if (recorded instanceof RecordError) throw recorded;
  return recorded?.[0];
}

/** All that can be taken now; they wait as before. */
async function waitingJobs({ outbox }: OpenedTables, task: string): Promise<readonly WaitingJob[]> {
  let seen: readonly WaitingJob[] = [];
  const stop = new Error('only looked at');
  const deliver = async (jobs: readonly WaitingJob[]): Promise<never> => {
    seen = jobs;
    throw stop;
  };
  await outbox.handOver({ task, limit: 99, deliver }).catch((error: unknown) => assert.equal(error, stop));
  return seen;
}

async function takenMessage(tables: OpenedTables): Promise<MessageToExtract> {
  const row = newMessage(await tables.organisation('acme'));
  await one(tables, row);
  const message = await tables.extraction.take(row.id, row.orgId);
  assert.equal(message?.status, 'STORED');
  return message as MessageToExtract;
}

function document({ orgId }: MessageToExtract, over: Partial<NewDocument> = {}): NewDocument {
  const id = randomUUID();
  return {
    id,
    partPath: '1',
    fileName: 'order.pdf',
    mimeType: 'application/pdf',
    declaredMimeType: null,
    sizeBytes: 10,
    sha256: '0'.repeat(64),
    storageKey: `${orgId}/2026/03/${id}.pdf`,
    status: 'STORED',
    error: null,
    ...over,
  };
}

function failedDocument(message: MessageToExtract): NewDocument {
  const error = { code: 'gave-up', message: 'could not be stored' } as const;
  return document(message, { partPath: '2', sizeBytes: null, sha256: null, storageKey: null, status: 'FAILED', error });
}

const result = (documents: readonly NewDocument[]): ExtractionResult => ({
  documents,
  parts: [],
  reading: { parserVersion: 7, notes: [] },
  failure: null,
});
