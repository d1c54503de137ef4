import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { describe, it } from 'node:test';
import { Worker } from 'node:worker_threads';
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

  it('a thread that ends takes its mails with it, between two pieces too; the next mail gets another', async () => {
    const started: Worker[] = [];
    const thread = createHashThread(() => {
      const worker = new Worker(new URL('./digest-thread.ts', import.meta.url));
      started.push(worker);
      return worker;
    });
    const mail = thread.begin();
    await mail.update(Buffer.from('first half, '), 0);
    await started[0]?.terminate();
    await assert.rejects(mail.update(Buffer.from('second half'), 0), /has ended/);
    await assert.rejects(mail.finish(), /has ended/);
    mail.abandon();

    const next = thread.begin();
    await next.update(Buffer.from('whole'), 0);
    assert.equal((await next.finish()).rawSha256, sha256(Buffer.from('whole')));
    assert.equal(started.length, 2);
    await started[1]?.terminate();
  });
});
