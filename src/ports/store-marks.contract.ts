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
      const storeNow = await marks.leave(first, { beside: [], inPlaceOf: [] });
      assert.ok(Math.abs(storeNow.getTime() - Date.now()) < 3_600_000);
      assert.deepEqual(await others.read(), [first]);
      await others.leave(second, { beside: [], inPlaceOf: [first] });
      assert.deepEqual(await marks.read(), [second]);
      await marks.leave(randomUUID(), { beside: [], inPlaceOf: [second, first] });
      assert.equal((await others.read()).length, 1);
      for await (const { key } of objects.list('')) assert.fail(`${key} is listed`);
    });

    it('what is to stay beside it stays', async () => {
      const { marks, others } = opened;
      const [home, last, next] = [randomUUID(), randomUUID(), randomUUID()];
      await marks.leave(home, { beside: [], inPlaceOf: await marks.read() });
      await marks.leave(last, { beside: [home], inPlaceOf: [] });
      await others.leave(next, { beside: [home], inPlaceOf: [last] });
      assert.deepEqual([...(await marks.read())].sort(), [home, next].sort());
    });

    it('one of several left at the same moment is read at least, and then replaced', async () => {
      const { marks, others } = opened;
      const inPlaceOf = await marks.read();
      const ids = [randomUUID(), randomUUID()] as const;
      await Promise.all([
        marks.leave(ids[0], { beside: [], inPlaceOf }),
        others.leave(ids[1], { beside: [], inPlaceOf }),
      ]);
      const left = await marks.read();
      assert.ok(left.length > 0 && left.every((id) => ids.includes(id as (typeof ids)[0])), left.join());
      const last = randomUUID();
      await marks.leave(last, { beside: [], inPlaceOf: left });
      assert.deepEqual(await others.read(), [last]);
    });
  });
}
