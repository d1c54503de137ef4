/** The slope of a series of measurements, such that a few wild ones do not matter. */

export interface Sample {
  readonly atMs: number;
  readonly value: number;
}

export interface Line {
  readonly perMinute: number;
  /** Of the first and the last window, on the line. */
  readonly first: number;
  readonly last: number;
}

/** More only make more pairs: the slope of 30 windows is as good as that of 36,000 samples. */
const maxWindows = 30;
/** Of fewer the least is not what is held at rest. */
const samplesPerWindow = 5;

/**
 * Fitted to the least value of each window: what is held at rest, without what mails under way hold.
 * Errors: RangeError for fewer than three windows; two points always lie on a line.
 * Spec: Theil (1950) and Sen (1968), the median of the slopes of all pairs; up to 29 % of the windows may be wrong.
 */
export function fitLine(samples: readonly Sample[]): Line {
  const windows = Math.min(maxWindows, Math.max(3, Math.floor(samples.length / samplesPerWindow)));
  const floor = floorOf(samples, windows);
  if (floor.length < 3) throw new RangeError(`${samples.length} samples are too few to fit a line`);
  const slopes = floor.flatMap((a, index) =>
    floor.slice(index + 1).map((b) => (b.value - a.value) / (b.atMs - a.atMs)),
  );
  const perMs = medianOf(slopes);
  const start = medianOf(floor.map(({ atMs, value }) => value - perMs * atMs));
  const valueAt = (sample: Sample | undefined): number => start + perMs * (sample?.atMs ?? 0);
  return { perMinute: perMs * 60_000, first: valueAt(floor[0]), last: valueAt(floor.at(-1)) };
}

function floorOf(samples: readonly Sample[], windows: number): Sample[] {
  const size = Math.max(1, Math.ceil(samples.length / windows));
  const floor: Sample[] = [];
  for (let from = 0; from < samples.length; from += size) {
    const window = samples.slice(from, from + size);
    // A rest of a few samples has a higher least value than a whole window.
    if (window.length < size && floor.length > 0) break;
    const [first, last] = [window[0], window.at(-1)];
    const value = Math.min(...window.map((sample) => sample.value));
    if (first && last) floor.push({ atMs: (first.atMs + last.atMs) / 2, value });
  }
  return floor;
}

function medianOf(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  const [lower = 0, upper = 0] = [sorted[Math.floor((sorted.length - 1) / 2)], sorted[middle]];
  return (lower + upper) / 2;
}
