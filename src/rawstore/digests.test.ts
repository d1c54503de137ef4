import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { describe, it } from 'node:test';
import { createHashThread } from './digests.ts';

const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

describe('the thread that hashes large mails', { timeout: 20_000 }, () => {
  it('keeps mails apart whose pieces come in turn', async () => {
    const thread = createHashThread();
    const mails = Array.from({ length: 5 }, () => ({ hasher: thread.begin(), bytes: randomBytes(700_000) }));
    for (let from = 0; from < 700_000; from += 100_000) {
      const piece = (bytes: Buffer) => bytes.subarray(from, from + 100_000);
      await Promise.all(
        mails.map(({ hasher, bytes }, index) =>
          hasher.update(piece(bytes), from === 0 ? index * 10 : index === 4 && from === 100_000 ? 7 : 0),
        ),
      );
    }
    for (const [index, { hasher, bytes }] of mails.slice(0, 4).entries()) {
      assert.deepEqual(await hasher.finish(), {
        rawSha256: sha256(bytes),
        contentSha256: sha256(bytes.subarray(index * 10)),
      });
    }
  });

  it('a mail that was given up leaves the others alone', async () => {
    const thread = createHashThread();
    const [gone, stays] = [thread.begin(), thread.begin()];
    await Promise.all([gone.update(randomBytes(10), 0), stays.update(Buffer.from('header\n\nbody'), 8)]);
    gone.abandon();
    gone.abandon();
    assert.equal((await stays.finish()).contentSha256, sha256(Buffer.from('body')));
  });

  it('a mail whose bytes are not there when it is finished is an error, never the digest of nothing', async () => {
    await assert.rejects(createHashThread().begin().finish(), /does not know/);
  });
});
