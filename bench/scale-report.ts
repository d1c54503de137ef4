/** The table of how cost grows, beside the base of the same dimension. */
import { figure, markdownTable } from './report.ts';
import type { Machine } from './result.ts';
import type { Case, Dimension, Way } from './scale-cases.ts';
import { median, spread } from './statistics.ts';

export interface ScaleTurn {
  readonly mails: number;
  readonly elapsedMs: number;
  readonly mailsPerSecond: number;
  readonly ackP95Ms: number;
  /** null where nobody can look. */
  readonly productCpuMs: number | null;
  readonly postgresCpuMs: number | null;
}

export interface ScaleSeries {
  readonly dimension: Dimension;
  readonly way: Way;
  readonly label: string;
  readonly case: Case;
  readonly turns: readonly ScaleTurn[];
}

export interface ScaleReport {
  readonly startedAt: string;
  readonly command: string;
  readonly machine: Machine;
  readonly series: readonly ScaleSeries[];
  /** Whatever makes the figures worthless; empty when all is well. */
  readonly problems: readonly string[];
}

const WAY: Readonly<Record<Way, string>> = { take: 'taken', parsed: 'to PARSED' };

const HEADER = [
  'what',
  'how far',
  'mails/s (min–max)',
  '× base',
  'CPU ms/mail: product',
  'its PostgreSQL',
  'both × base',
  'ack P95 ms',
];

/** Of each dimension and way, the base comes first, and is what the others are divided by. */
export function scaleTable(all: readonly ScaleSeries[]): string {
  const groups = Map.groupBy(all, ({ dimension, way }) => `${dimension} ${way}`);
  const rows = [...groups.values()].flatMap((group) => group.map((one) => row(one, group[0] ?? one)));
  return markdownTable(HEADER, rows);
}

function row(one: ScaleSeries, base: ScaleSeries): readonly string[] {
  const rate = spread(one.turns.map(({ mailsPerSecond }) => mailsPerSecond));
  const ratio = (mine: number | null, its: number | null): string =>
    one === base || mine === null || its === null ? '—' : figure(mine / its);
  const cpu = (each: ScaleSeries): number | null => {
    const [product, postgres] = [perMail(each, 'productCpuMs'), perMail(each, 'postgresCpuMs')];
    return product === null || postgres === null ? null : product + postgres;
  };
  return [
    one === base ? `**${one.label}**` : one.label,
    WAY[one.way],
    `${figure(rate.median)} (${figure(rate.min)}–${figure(rate.max)})`,
    ratio(rate.median, median(base.turns.map(({ mailsPerSecond }) => mailsPerSecond))),
    figure(perMail(one, 'productCpuMs')),
    figure(perMail(one, 'postgresCpuMs')),
    ratio(cpu(one), cpu(base)),
    figure(median(one.turns.map(({ ackP95Ms }) => ackP95Ms))),
  ];
}

/** Median over the turns; null where one was not seen. */
export function perMail({ turns }: ScaleSeries, what: 'productCpuMs' | 'postgresCpuMs'): number | null {
  const values = turns.flatMap((turn) => (turn[what] === null || turn.mails === 0 ? [] : [turn[what] / turn.mails]));
  return values.length === 0 ? null : median(values);
}
