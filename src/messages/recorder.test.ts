import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type pg from 'pg';
import { createPostgresMessageStore } from '../adapters/postgres/message-store.ts';
import type { MessageStore, NewMessage } from '../ports/message-store.ts';
import { RecordError } from '../ports/message-store.ts';
import { addOrganisation, newMessage, openTestPool } from '../testing/postgres-fixtures.ts';
import { createRecorder } from './recorder.ts';

/** The real store, its calls counted. */
function counted(pool: pg.Pool): { store: MessageStore; batches: number[] } {
  const store = createPostgresMessageStore({ pool });
  const batches: number[] = [];
  return {
    batches,
    store: {
      record(envelopes) {
        batches.push(envelopes.length);
        return store.record(envelopes);
      },
    },
  };
}

describe('group commit', () => {
  it('commits a single message at once', async (t) => {
    const { pool } = await openTestPool(t);
    const { store, batches } = counted(pool);
    const message = newMessage(await addOrganisation(pool, 'acme'));

    const recorded = await createRecorder({ store }).record([message]);

    assert.deepEqual(recorded, [{ outcome: 'accepted', id: message.id }]);
    assert.deepEqual(batches, [1]);
  });

  it('takes all that arrive while a commit is under way into the next one, and gives each its own answer', async (t) => {
    const { pool } = await openTestPool(t);
    const { store, batches } = counted(pool);
    const orgId = await addOrganisation(pool, 'acme');
    const recorder = createRecorder({ store });
    const messages = Array.from({ length: 30 }, () => newMessage(orgId));

    const answers = await Promise.all(messages.map((message) => recorder.record([message])));

    assert.deepEqual(
      answers.map((answer) => answer[0]?.id),
      messages.map(({ id }) => id),
    );
    assert.deepEqual(batches, [1, 29]);
  });

  it('leaves a pause behind a commit of several, so that those who come one after another share the next', async (t) => {
    const { pool } = await openTestPool(t);
    const { store, batches } = counted(pool);
    const orgId = await addOrganisation(pool, 'acme');
    const pause = Promise.withResolvers<void>();
    const recorder = createRecorder({ store, pause: () => pause.promise });
    await Promise.all(Array.from({ length: 5 }, () => recorder.record([newMessage(orgId)])));

    const late = [];
    for (let count = 0; count < 3; count++) {
      late.push(recorder.record([newMessage(orgId)]));
      await sleep(10);
    }
    assert.deepEqual(batches, [1, 4]);
    pause.resolve();
    await Promise.all(late);

    assert.deepEqual(batches, [1, 4, 3]);
  });

  it('leaves none behind a commit of few', async (t) => {
    const { pool } = await openTestPool(t);
    const { store, batches } = counted(pool);
    const orgId = await addOrganisation(pool, 'acme');
    const recorder = createRecorder({ store, pause: () => assert.fail('nobody shares the next one') });
    await Promise.all(Array.from({ length: 4 }, () => recorder.record([newMessage(orgId)])));
    await recorder.record([newMessage(orgId)]);
    assert.deepEqual(batches, [1, 3, 1]);
  });

  it('lets no message that the database refuses take the others of its commit down', async (t) => {
    const { pool } = await openTestPool(t);
    const { store } = counted(pool);
    const orgId = await addOrganisation(pool, 'acme');
    const recorder = createRecorder({ store });
    const stranger = newMessage('b5a7c1de-0000-4000-8000-000000000000');
    const messages: NewMessage[] = [newMessage(orgId), newMessage(orgId), stranger, newMessage(orgId)];

    const answers = await Promise.allSettled(messages.map((message) => recorder.record([message])));

    assert.deepEqual(
      answers.map(({ status }) => status),
      ['fulfilled', 'fulfilled', 'rejected', 'fulfilled'],
    );
    const refused = answers[2];
    assert.ok(refused?.status === 'rejected' && refused.reason instanceof RecordError);
    assert.equal(refused.reason.code, 'refused');
  });

  it('goes on after a commit that failed', async (t) => {
    const { pool } = await openTestPool(t);
    const { store } = counted(pool);
    const recorder = createRecorder({ store });
    const orgId = await addOrganisation(pool, 'acme');
    await pool.query('ALTER TABLE inbound_message RENAME TO gone');
    await assert.rejects(recorder.record([newMessage(orgId)]), { code: 'unavailable' });
    await pool.query('ALTER TABLE gone RENAME TO inbound_message');

    const recorded = await recorder.record([newMessage(orgId)]);

    assert.equal(recorded[0]?.outcome, 'accepted');
  });
});
