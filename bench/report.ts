/** What a reader gets: tables in Markdown, to be read in a terminal and kept in docs/performance.md as they are. */
import type { Ceiling, Machine, Report, Series, Turn } from './result.ts';
import { describe, type Group } from './scenarios.ts';
import { median, spread } from './statistics.ts';
import type { ProcessUsage } from './usage.ts';

const MISSING = '—';

export function reportText(report: Report): string {
  const of = (...wanted: Group[]): readonly Series[] =>
    report.series.filter(({ scenario }) => wanted.includes(scenario.group));
  const sections = [
    machineText(report.machine, report.command, report.startedAt),
    section('Throughput and acknowledgement', resultTable(of('acceptance', 'parsed', 'extraction', 'beside'))),
    section('Memory above idle', memoryTable(of('memory'))),
    section('Processes of the product', processTable(report.series.filter(({ isPeer }) => !isPeer))),
    section('Ceiling of the generators, against a server that keeps nothing', ceilingTable(report.ceilings)),
    report.problems.length === 0 ? '' : `NOT VALID:\n${report.problems.map((problem) => `- ${problem}`).join('\n')}\n`,
  ];
  return sections.filter((text) => text !== '').join('\n');
}

function machineText(machine: Machine, command: string, startedAt: string): string {
  const { processor, cores, memoryBytes, system, fileSystem, node, postgres, loadBefore } = machine;
  return [
    `${startedAt}: \`${command}\``,
    `${cores} × ${processor}, ${(memoryBytes / 2 ** 30).toFixed(0)} GiB, ${system}, ${fileSystem}; Node ${node}` +
      `${postgres === null ? '' : `, PostgreSQL ${postgres}`}; load before: ${loadBefore.toFixed(1)}`,
    '',
  ].join('\n');
}

const section = (title: string, table: string): string => (table === '' ? '' : `${title}\n\n${table}`);

const HEADER = [
  'what',
  'generator',
  'side',
  'mails/s (min–max)',
  'MB/s',
  'ratio of medians',
  'ack ms P50 / P95 / P99',
  'CPU ms/mail',
  'memory MB',
  'written KB/mail',
  'of it WAL',
  'generator CPU',
];

export function resultTable(all: readonly Series[]): string {
  return markdownTable(
    HEADER,
    all.filter(({ turns }) => turns.length > 0).map((one) => resultRow(one, all)),
  );
}

function resultRow(one: Series, all: readonly Series[]): readonly string[] {
  const { turns } = one;
  const { median: rate, min, max } = spread(turns.map(({ mailsPerSecond }) => mailsPerSecond));
  const range = turns.length > 1 ? ` (${figure(min)}–${figure(max)})` : '';
  return [
    describe(one.scenario),
    one.load ?? MISSING,
    one.side,
    `${figure(rate)}${range}`,
    figure(median(turns.map(({ bytesPerSecond }) => bytesPerSecond)) / 1e6),
    ratios(one, all)
      .map(({ peer, ratio }) => `${ratio.toFixed(2)} × ${peer}`)
      .join(', ') || MISSING,
    ackText(turns),
    perTurn(turns, ({ usage, mails }) => (usage && mails > 0 ? usage.cpuMs / mails : null)),
    perTurn(turns, ({ usage }) => usage && (usage.memory.program.peakBytes + usage.memory.postgres.peakBytes) / 1e6),
    perTurn(turns, ({ usage, mails }) =>
      usage && usage.writtenBytes !== null && mails > 0 ? usage.writtenBytes / mails / 1e3 : null,
    ),
    perTurn(turns, ({ walBytes, mails }) => (walBytes !== null && mails > 0 ? walBytes / mails / 1e3 : null)),
    perTurn(turns, ({ generatorCpuMs, elapsedMs }) => generatorCpuMs && (100 * generatorCpuMs) / elapsedMs, ' %'),
  ];
}

/** The product's median over each peer's, in the same scenario under the same generator. */
export function ratios(
  one: Series,
  all: readonly Series[],
): readonly { readonly peer: string; readonly ratio: number }[] {
  if (one.isPeer || one.turns.length === 0) return [];
  const middle = ({ turns }: Series): number => median(turns.map(({ mailsPerSecond }) => mailsPerSecond));
  const rivals = all.filter(
    (other) => other.isPeer && other.load === one.load && other.scenario === one.scenario && other.turns.length > 0,
  );
  return rivals.map((rival) => ({ peer: rival.side, ratio: middle(one) / middle(rival) }));
}

function ackText(turns: readonly Turn[]): string {
  const acks = turns.flatMap(({ ackMs }) => ackMs ?? []);
  if (acks.length === 0) return MISSING;
  return (['p50', 'p95', 'p99'] as const).map((name) => figure(median(acks.map((ack) => ack[name])))).join(' / ');
}

function perTurn(turns: readonly Turn[], value: (turn: Turn) => number | null, unit = ''): string {
  const values = turns.flatMap((turn) => value(turn) ?? []);
  return values.length === 0 ? MISSING : `${figure(median(values))}${unit}`;
}

function memoryTable(all: readonly Series[]): string {
  const rows = all.flatMap((one) =>
    one.turns.flatMap(({ usage, ackMs, mails }) =>
      (['program', 'postgres'] as const).map((part): readonly string[] => {
        const { beforeBytes, peakBytes } = usage?.memory[part] ?? { beforeBytes: 0, peakBytes: 0 };
        const megabytes = [beforeBytes, peakBytes, peakBytes - beforeBytes].map((bytes) => figure(bytes / 1e6));
        const who = part === 'program' ? one.side : 'its PostgreSQL';
        return [
          describe(one.scenario),
          who,
          String(mails),
          ...(usage ? megabytes : megabytes.map(() => MISSING)),
          figure(ackMs?.p95),
        ];
      }),
    ),
  );
  return markdownTable(['what', 'processes', 'accepted', 'idle MB', 'peak MB', 'above idle MB', 'ack P95 ms'], rows);
}

function processTable(all: readonly Series[]): string {
  const rows = all.flatMap((one) => {
    const mails = one.turns.reduce((sum, turn) => sum + turn.mails, 0);
    const groups = Map.groupBy(
      one.turns.flatMap(({ usage }) => usage?.processes ?? []),
      ({ name }) => name,
    );
    return [...groups].map(([name, seen]) => processRow({ one, mails, name, seen })).filter((row) => row !== null);
  });
  return markdownTable(['what', 'generator', 'side', 'process', 'CPU ms/mail', 'largest MB', 'written KB/mail'], rows);
}

/** null for what did nothing. */
function processRow({
  one,
  mails,
  name,
  seen,
}: {
  readonly one: Series;
  readonly mails: number;
  readonly name: string;
  readonly seen: readonly ProcessUsage[];
}): readonly string[] | null {
  const sum = (value: (usage: ProcessUsage) => number): number =>
    seen.reduce((total, usage) => total + value(usage), 0);
  const written = sum(({ writtenBytes }) => writtenBytes ?? 0);
  const cpuMs = sum((usage) => usage.cpuMs);
  if (mails === 0 || (cpuMs === 0 && written === 0)) return null;
  const count = Math.max(...seen.map((usage) => usage.count));
  return [
    describe(one.scenario),
    one.load ?? MISSING,
    one.side,
    count > 1 ? `${name} × ${count}` : name,
    figure(cpuMs / mails),
    figure(Math.max(...seen.map(({ peakResidentBytes }) => peakResidentBytes)) / 1e6),
    seen.every(({ writtenBytes }) => writtenBytes === null) ? MISSING : figure(written / mails / 1e3),
  ];
}

function ceilingTable(ceilings: readonly Ceiling[]): string {
  const rows = ceilings.map((one) => [
    describe(one.scenario),
    one.load,
    figure(one.mailsPerSecond),
    figure(one.bytesPerSecond / 1e6),
  ]);
  return markdownTable(['what', 'generator', 'mails/s', 'MB/s'], rows);
}

/** Three digits that count. */
export function figure(value: number | null | undefined): string {
  if (value === null || value === undefined || !Number.isFinite(value)) return MISSING;
  const size = Math.abs(value);
  return value.toFixed(size >= 99.95 ? 0 : size >= 9.995 ? 1 : 2);
}

/** Columns aligned; empty when there is no row. The first three are text, the rest figures. */
export function markdownTable(header: readonly string[], rows: readonly (readonly string[])[]): string {
  if (rows.length === 0) return '';
  const widths = header.map((title, column) =>
    Math.max(title.length, ...rows.map((row) => row[column]?.length ?? 0), 3),
  );
  const line = (cells: readonly string[]): string =>
    `| ${widths.map((width, column) => (cells[column] ?? '').padEnd(width)).join(' | ')} |`;
  return `${[line(header), line(widths.map((width) => '-'.repeat(width))), ...rows.map(line)].join('\n')}\n`;
}
