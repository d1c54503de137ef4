import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { after, before, describe, it } from 'node:test';
import type { ObjectStore } from './object-store.ts';
import type { StoreMarks } from './store-marks.ts';

export interface OpenedStoreMarks {
  readonly marks: StoreMarks;
  /** The same store, by another process. */
  readonly others: StoreMarks;
  readonly objects: ObjectStore;
  readonly close: () => Promise<void>;
}

/** What marks beside every object store do. */
export function describeStoreMarks(name: string, open: () => Promise<OpenedStoreMarks>): void {
  describe(`${name} keeps marks`, { timeout: 60_000 }, () => {
    let opened: OpenedStoreMarks;
    before(async () => {
      opened = await open();
    });
    after(() => opened?.close());

    it('none is there at first; the last one left is read by everybody, and no list shows it', async () => {
      const { marks, others, objects } = opened;
      assert.deepEqual(await marks.read(), []);
      const [first, second] = [randomUUID(), randomUUID()];
      const storeNow = await marks.leave(first, []);
      assert.ok(Math.abs(storeNow.getTime() - Date.now()) < 3_600_000);
      assert.deepEqual(await others.read(), [first]);
      await others.leave(second, [first]);
      assert.deepEqual(await marks.read(), [second]);
      await marks.leave(randomUUID(), [second, first]);
      assert.equal((await others.read()).length, 1);
      for await (const { key } of objects.list('')) assert.fail(`${key} is listed`);
    });

    it('one of several left at the same moment is read at least, and then replaced', async () => {
      const { marks, others } = opened;
      const before = await marks.read();
      const ids = [randomUUID(), randomUUID()] as const;
      await Promise.all([marks.leave(ids[0], before), others.leave(ids[1], before)]);
      const left = await marks.read();
      assert.ok(left.length > 0 && left.every((id) => ids.includes(id as (typeof ids)[0])), left.join());
      const last = randomUUID();
      await marks.leave(last, left);
      assert.deepEqual(await others.read(), [last]);
    });
  });
}
