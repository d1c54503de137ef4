import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { test } from 'node:test';
import { createMetrics, type Metrics } from './metrics.ts';
import { createProcessMetrics, type MetricsSnapshot } from './process-metrics.ts';

const orgId = randomUUID();

/** As it comes through the channel between two processes. */
const sent = async (metrics: Metrics): Promise<MetricsSnapshot> => structuredClone(await metrics.snapshot());

/** One process that answers scrapes, and what the others said. */
function scraped() {
  const others = createProcessMetrics<string>();
  const counts = {
    messages: [{ status: 'PARSED' as const, count: 7 }],
    jobs: [],
    documents: { counts: [], oldestStoredSeconds: 0 },
  };
  const metrics = createMetrics({
    databaseCounts: async () => counts,
    diskSpace: async () => ({ freeBytes: 5, sizeBytes: 9 }),
    otherProcesses: async () => others.snapshots(),
  });
  const lines = async () => (await metrics.scrape()).text.split('\n');
  return { others, lines };
}

test('what several processes count is summed, under the same names as of one', async () => {
  const { others, lines } = scraped();
  for (const name of ['smtp-1', 'smtp-2']) {
    const metrics = createMetrics();
    metrics.emailReceived(orgId, 'accepted');
    metrics.connectionOpened();
    metrics.acknowledged(250);
    metrics.replied({ condition: 'accepted', code: 250 });
    others.learn(name, await sent(metrics));
  }
  const told = await lines();
  for (const expected of [
    `smtp_emails_received_total{org_id="${orgId}",status="accepted"} 2`,
    'smtp_connections 2',
    'smtp_ack_duration_seconds_count 2',
    'smtp_ack_duration_seconds_sum 0.5',
    'smtp_ack_duration_seconds_bucket{le="0.25"} 2',
    'smtp_replies_total{code="250",condition="accepted"} 2',
    'smtp_replies_total{code="451",condition="fault"} 0',
  ]) {
    assert.ok(told.includes(expected), `${expected}\n${told.join('\n')}`);
  }
  const types = (text: readonly string[]) => text.filter((line) => line.startsWith('# TYPE ')).toSorted();
  assert.deepEqual(types(told), types((await createMetrics().scrape()).text.split('\n')));
});

test('what the database and the disk say is told once, and the start is that of the first process', async () => {
  const { others, lines } = scraped();
  others.learn('smtp-1', await sent(createMetrics()));
  others.learn('smtp-2', await sent(createMetrics()));
  const told = await lines();
  for (const expected of [
    'inbound_messages{status="PARSED"} 7',
    'data_dir_free_bytes 5',
    'data_dir_size_bytes 9',
    `orderflow_build_info{version="unknown",node="${process.versions.node}"} 1`,
  ]) {
    assert.ok(told.includes(expected), `${expected}\n${told.join('\n')}`);
  }
  const startedAt = told.find((line) => line.startsWith('process_start_time_seconds '));
  assert.ok(Number(startedAt?.split(' ')[1]) > 0, `${startedAt}`);
});

test('nothing of a disk or a database that cannot be asked comes from another process instead', async () => {
  const metrics = createMetrics({ otherProcesses: async () => [await sent(createMetrics())] });
  const { text } = await metrics.scrape();
  assert.doesNotMatch(text, /^(data_dir_\w+|inbound_messages|jobs_waiting)\b/m);
});

test('totals never fall when a process dies, and what it had open is gone', async () => {
  const { others, lines } = scraped();
  const value = async (name: string) =>
    Number((await lines()).find((line) => line.startsWith(`${name} `) || line.startsWith(`${name}{`))?.split(' ')[1]);
  for (let death = 1; death <= 3; death++) {
    const metrics = createMetrics();
    metrics.connectionOpened();
    metrics.emailReceived(orgId, 'accepted');
    metrics.acknowledged(10);
    others.learn('smtp-1', await sent(metrics));
    assert.equal(await value('smtp_connections'), 1);
    others.depart('smtp-1');
    assert.equal(await value('smtp_emails_received_total'), death);
    assert.equal(await value('smtp_ack_duration_seconds_count'), death);
    assert.equal(await value('smtp_connections'), 0);
  }
  others.depart('one that never said anything');
  assert.equal(await value('smtp_emails_received_total'), 3);
});
