/** The few numbers a series of measurements is told in. */

/** Errors: RangeError for no values; there is nothing in the middle of nothing. */
export function median(values: readonly number[]): number {
  const sorted = ascending(values);
  const middle = sorted.length >> 1;
  const upper = at(sorted, middle);
  return sorted.length % 2 === 1 ? upper : (at(sorted, middle - 1) + upper) / 2;
}

/** By nearest rank: always a value that was measured. Units: `percent` above 0, up to 100. */
export function percentile(values: readonly number[], percent: number): number {
  if (!(percent > 0 && percent <= 100)) throw new RangeError(`no percentile: ${percent}`);
  const sorted = ascending(values);
  return at(sorted, Math.ceil((percent / 100) * sorted.length) - 1);
}

export interface Percentiles {
  readonly p50: number;
  readonly p95: number;
  readonly p99: number;
}

export function percentiles(values: readonly number[]): Percentiles {
  return { p50: percentile(values, 50), p95: percentile(values, 95), p99: percentile(values, 99) };
}

export interface Spread {
  readonly median: number;
  readonly min: number;
  readonly max: number;
}

export function spread(values: readonly number[]): Spread {
  const sorted = ascending(values);
  return { median: median(sorted), min: at(sorted, 0), max: at(sorted, sorted.length - 1) };
}

function ascending(values: readonly number[]): readonly number[] {
  if (values.length === 0) throw new RangeError('no values');
  return values.toSorted((a, b) => a - b);
}

function at(sorted: readonly number[], index: number): number {
  const value = sorted[index];
  if (value === undefined) throw new RangeError(`no value at ${index}`);
  return value;
}
