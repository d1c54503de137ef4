import assert from 'node:assert/strict';
import { test } from 'node:test';
import { figure, markdownTable, ratios, reportText, resultTable } from './report.ts';
import { type Report, rates, type Series, type Turn } from './result.ts';
import type { Scenario } from './scenarios.ts';

const scenario: Scenario = { group: 'acceptance', sizeBytes: 10_000, senders: 20, reuse: false, bar: true };

const turn = (mailsPerSecond: number, more: Partial<Turn> = {}): Turn => ({
  ...rates(mailsPerSecond, 10_000, 1000),
  ackMs: { p50: 10, p95: 20, p99: 30 },
  replies: { '250': mailsPerSecond },
  generatorCpuMs: 125,
  usage: null,
  walBytes: null,
  ...more,
});

const series = (side: string, perSecond: readonly number[], more: Partial<Series> = {}): Series => ({
  scenario,
  side,
  isPeer: side !== 'product',
  load: 'client',
  turns: perSecond.map((value) => turn(value)),
  ...more,
});

const report = (more: Partial<Report>): Report => ({
  startedAt: '2026-03-01T00:00:00.000Z',
  command: 'npm run bench --',
  machine: {
    processor: 'Some CPU',
    cores: 2,
    memoryBytes: 8 * 2 ** 30,
    system: 'Linux 6',
    fileSystem: 'ext4',
    node: '26.0.0',
    postgres: '18.0',
    loadBefore: 0.4,
  },
  ceilings: [],
  series: [],
  problems: [],
  ...more,
});

const cells = (line: string | undefined): readonly string[] => (line ?? '').split('|').map((cell) => cell.trim());

test('a ratio is that of the medians, not of the means, within one scenario and one generator', () => {
  const product = series('product', [900, 1000, 9000]);
  const all = [
    product,
    series('postfix', [400, 500, 510]),
    series('haraka', [250, 100, 260]),
    series('postfix', [1], { load: 'smtp-source' }),
    series('postfix', [1], { scenario: { ...scenario, reuse: true } }),
  ];
  assert.deepEqual(ratios(product, all), [
    { peer: 'postfix', ratio: 2 },
    { peer: 'haraka', ratio: 4 },
  ]);
  assert.deepEqual(ratios(all[1] ?? product, all), []);
});

test('a row tells the median with its range, and medians of the percentiles', () => {
  const product = series('product', [900, 1000, 1100]);
  const table = resultTable([product, series('postfix', [500])]).split('\n');
  assert.deepEqual(cells(table[2]).slice(1, 8), [
    '10 KB, own connection, 20 senders',
    'client',
    'product',
    '1000 (900–1100)',
    '10.0',
    '2.00 × postfix',
    '10.0 / 20.0 / 30.0',
  ]);
  assert.equal(cells(table[2])[12], '12.5 %');
  assert.deepEqual(cells(table[3]).slice(4, 7), ['500', '5.00', '—']);
});

test('CPU and bytes are told per mail, and as unknown where nobody could look', () => {
  const processes = [
    { name: 'orderflow-ingest', count: 1, cpuMs: 50, peakResidentBytes: 90e6, writtenBytes: 1_200_000 },
    { name: 'postgres backend', count: 6, cpuMs: 20, peakResidentBytes: 30e6, writtenBytes: 800_000 },
    { name: 'postgres io worker', count: 3, cpuMs: 0, peakResidentBytes: 5e6, writtenBytes: 0 },
  ];
  const memory = { program: { beforeBytes: 1e6, peakBytes: 90e6 }, postgres: { beforeBytes: 1e6, peakBytes: 60e6 } };
  const usage = { cpuMs: 70, writtenBytes: 2_000_000, memory, processes };
  const product = series('product', [], { turns: [1, 2].map(() => turn(100, { usage, walBytes: 500_000 })) });
  const text = reportText(report({ series: [product] }));
  const rows = text.split('\n').map(cells);
  assert.deepEqual(rows.find((row) => row[3] === 'product')?.slice(8, 12), ['0.70', '150', '20.0', '5.00']);
  const byProcess = rows.filter((row) => /orderflow-ingest|postgres/.test(row[4] ?? '')).map((row) => row.slice(4, 8));
  assert.deepEqual(byProcess, [
    ['orderflow-ingest', '0.50', '90.0', '12.0'],
    ['postgres backend × 6', '0.20', '30.0', '8.00'],
  ]);
  assert.deepEqual(cells(resultTable([series('product', [5])]).split('\n')[2]).slice(8, 12), ['—', '—', '—', '—']);
});

test('memory is told above idle', () => {
  const memory = {
    program: { beforeBytes: 100e6, peakBytes: 250e6 },
    postgres: { beforeBytes: 50e6, peakBytes: 60e6 },
  };
  const usage = { cpuMs: 1, writtenBytes: null, memory, processes: [] };
  const one = series('product', [], {
    scenario: { group: 'memory', sizeBytes: 25e6, senders: 100, reuse: false, bar: false },
    turns: [turn(100, { usage })],
  });
  const rows = reportText(report({ series: [one] }))
    .split('\n')
    .map(cells);
  const told = rows.filter((row) => row[1] === '100 × 25 MB at once').map((row) => row.slice(2, 7));
  assert.deepEqual(told, [
    ['product', '100', '100', '250', '150'],
    ['its PostgreSQL', '100', '50.0', '60.0', '10.0'],
  ]);
});

test('figures that are not valid are called so, loudly and only then', () => {
  assert.match(reportText(report({ problems: ['5 mails were answered 250, 4 rows'] })), /NOT VALID:\n- 5 mails/);
  assert.doesNotMatch(reportText(report({})), /NOT VALID/);
});

test('figures have three digits that count', () => {
  assert.deepEqual([0, 1.234, 12.34, 123.4, 1234.5, 99.96].map(figure), ['0.00', '1.23', '12.3', '123', '1235', '100']);
  assert.deepEqual([null, undefined, Number.NaN].map(figure), ['—', '—', '—']);
});

test('a table has a cell for every column, and nothing is said of no rows', () => {
  assert.equal(
    markdownTable(['a', 'long title'], [['1'], ['12345', 'x']]),
    ['| a     | long title |', '| ----- | ---------- |', '| 1     |            |', '| 12345 | x          |', ''].join(
      '\n',
    ),
  );
  assert.equal(markdownTable(['a'], []), '');
});
