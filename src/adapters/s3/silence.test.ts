/** The network forgets the connections that are kept to the store: one operation may fail, the store is used again. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { once, read } from '../../ports/object-store.contract.ts';
import { cleanUp } from '../../testing/clean-up.ts';
import { missing } from '../../testing/missing.ts';
import { noS3Server, startS3Server } from '../../testing/s3-server.ts';
import { openStore } from '../../testing/s3-stores.ts';
import { openSilentWay } from '../../testing/silent-way.ts';
import { waitFor } from '../../testing/wait-for.ts';

/** As many as a busy server keeps. */
const KEPT = 16;
/** A put has 25 s. */
const RECOVERY_MS = 30_000;

describe('a store whose connections the network has forgotten', () => {
  it('twice: objects are written and read again', { timeout: 200_000 }, async (t) => {
    const problem = noS3Server();
    if (problem !== null) return missing(t, 'an S3 server', problem);
    const server = await startS3Server();
    cleanUp(t, () => server.close());
    const settings = await server.newBucket();
    const { hostname, port } = new URL(settings.endpoint);
    const way = await openSilentWay(t, { host: hostname, port: Number(port) });
    const { store } = await openStore(t, { ...settings, endpoint: way.urlBy(settings.endpoint).replace(/\/$/, '') });

    for (let silence = 1; silence <= 2; silence++) {
      const names = Array.from({ length: KEPT }, (_, n) => `silence/${silence}-${n}.eml`);
      await Promise.all(names.map((name) => store.put(name, once('kept'))));
      way.silence();
      way.speak();
      const spokeAt = performance.now();
      let tries = 0;
      const again = async (): Promise<boolean> => {
        tries++;
        await store.put(`silence/${silence}.eml`, once('after'));
        return true;
      };
      await waitFor(again, { timeoutMs: RECOVERY_MS, what: 'a put that is done' });
      t.diagnostic(
        `silence ${silence}: written after ${Math.round(performance.now() - spokeAt)} ms, in ${tries} tries`,
      );
      assert.equal(String(await read(store, `silence/${silence}.eml`)), 'after');
      const begunAt = performance.now();
      await Promise.all(names.map((name) => read(store, name)));
      assert.ok(performance.now() - begunAt < 5_000, 'no other forgotten connection is in the way');
    }
  });
});
