import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { freePort } from '../../testing/free-port.ts';
import { startTestRedis, startTestSentinel } from '../../testing/redis.ts';
import { probeRedis } from './probe.ts';
import { factsOf } from './server-facts.ts';

describe('looking at a Redis', { concurrency: 4, timeout: 30_000 }, () => {
  it('finds nothing wrong with one that is set up for jobs', async (t) => {
    const redis = await startTestRedis(t);
    if (redis === null) return;
    const { version, ...rest } = await probeRedis(redis.url);
    assert.match(version ?? '', /^\d+\.\d+\.\d+$/);
    assert.deepEqual(rest, { problem: null, warnings: [] });
  });

  it('warns of one that may throw jobs away', async (t) => {
    const redis = await startTestRedis(t, { args: ['--maxmemory-policy', 'volatile-lru'] });
    if (redis === null) return;
    const { problem, warnings } = await probeRedis(redis.url);
    assert.equal(problem, null);
    assert.match(warnings.join(), /maxmemory-policy is volatile-lru/);
  });

  it('says why one cannot be used', async (t) => {
    const redis = await startTestRedis(t, { args: ['--requirepass', 'hunter2'] });
    if (redis === null) return;
    const problem = async (url: string) => (await probeRedis(url)).problem ?? '';
    const [nobody, at] = [`redis://127.0.0.1:${await freePort()}`, `127.0.0.1:${redis.port}`];
    assert.match(await problem(nobody), /^refuses connections/);
    assert.match(await problem(`redis://${at}`), /^wants a password/);
    assert.match(await problem(`redis://:hunter3@${at}`), /^refuses our user name or password$/);
    assert.match(await problem(`redis://:hunter2@${at}/999`), /^has no database of the number/);
    assert.match(await problem(`rediss://:hunter2@${at}`), /TLS/);
    assert.match(await problem('redis://no-such-host.invalid'), /^cannot be found/);
  });

  it('refuses a Sentinel and a node of a cluster, in words', async (t) => {
    const [primary, node] = [await startTestRedis(t), await startTestRedis(t, { args: ['--cluster-enabled', 'yes'] })];
    if (primary === null || node === null) return;
    const sentinel = await startTestSentinel(t, primary);
    assert.match((await probeRedis(sentinel.url)).problem ?? '', /^is a Redis Sentinel, .+ must name the primary/);
    assert.match((await probeRedis(node.url)).problem ?? '', /^is a Redis Cluster/);
  });

  it('knows old ones, clusters and replicas by what they say', () => {
    assert.match(factsOf('redis_version:4.0.9\r\n').problem ?? '', /is Redis 4\.0\.9/);
    assert.match(factsOf('redis_version:6.0.16\r\n').warnings.join(), /version 6\.0\.16 is old/);
    assert.match(factsOf('redis_version:7.2.4\r\ncluster_enabled:1\r\n').problem ?? '', /is a Redis Cluster/);
    assert.match(factsOf('redis_version:7.2.4\r\nrole:slave\r\n').problem ?? '', /read-only replica/);
    assert.deepEqual(factsOf('').problem, null);
  });
});
