/** The network forgets the connections that are kept to the store: one operation may fail, the store is used again. */
import assert from 'node:assert/strict';
import { describe, it, type TestContext } from 'node:test';
import { once, read } from '../../ports/object-store.contract.ts';
import { cleanUp } from '../../testing/clean-up.ts';
import { openFirewall } from '../../testing/firewall.ts';
import { missing } from '../../testing/missing.ts';
import { noS3Server, startS3Server } from '../../testing/s3-server.ts';
import { openStore } from '../../testing/s3-stores.ts';
import { type Middlebox, openSilentWay } from '../../testing/silent-way.ts';
import { waitFor } from '../../testing/wait-for.ts';

/** As many as a busy server keeps. */
const KEPT = 16;
/** A put has 25 s. */
const RECOVERY_MS = 30_000;

describe('a store whose connections are forgotten twice: objects are written and read again', {
  concurrency: true,
}, () => {
  it('by the network', { timeout: 200_000 }, (t) => survivesSilence(t, openSilentWay));
  it('by a firewall that drops packets', { timeout: 200_000 }, (t) => survivesSilence(t, openFirewall));
});

async function survivesSilence(
  t: TestContext,
  openWay: (t: TestContext, url: string) => Promise<Middlebox | null>,
): Promise<void> {
  const problem = noS3Server();
  if (problem !== null) return missing(t, 'an S3 server', problem);
  const server = await startS3Server();
  cleanUp(t, () => server.close());
  const settings = await server.newBucket();
  const way = await openWay(t, settings.endpoint);
  if (way === null) return;
  const { store } = await openStore(t, { ...settings, endpoint: way.url.replace(/\/$/, '') });

  for (let silence = 1; silence <= 2; silence++) {
    const names = Array.from({ length: KEPT }, (_, n) => `silence/${silence}-${n}.eml`);
    await Promise.all(names.map((name) => store.put(name, once('kept'))));
    await way.silence();
    await way.speak();
    const spokeAt = performance.now();
    let tries = 0;
    const again = async (): Promise<boolean> => {
      tries++;
      await store.put(`silence/${silence}.eml`, once('after'));
      return true;
    };
    await waitFor(again, { timeoutMs: RECOVERY_MS, what: 'a put that is done' });
    t.diagnostic(`silence ${silence}: written after ${Math.round(performance.now() - spokeAt)} ms, in ${tries} tries`);
    assert.equal(String(await read(store, `silence/${silence}.eml`)), 'after');
    const begunAt = performance.now();
    await Promise.all(names.map((name) => read(store, name)));
    assert.ok(performance.now() - begunAt < 5_000, 'no other forgotten connection is in the way');
  }
}
