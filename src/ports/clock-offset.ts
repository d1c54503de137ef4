import { broken, type Finding, ok, warning } from './finding.ts';

/** Arrival times and the age of objects are compared with each other across machines. Units: milliseconds. */
const NOTICEABLE_MS = 5_000;
/** S3 refuses requests that are a quarter of an hour off; certificates and retries go wrong before that. */
const BROKEN_MS = 5 * 60_000;

/**
 * What another machine's clock says about ours. `askedAtMs` and `answeredAtMs` are ours, around the question; half of the
 * way there and back is not known.
 */
export function clockFinding(o: {
  /** Such as `the database server`. */
  readonly other: string;
  readonly otherNowMs: number;
  readonly askedAtMs: number;
  readonly answeredAtMs: number;
}): Finding {
  const unknownMs = (o.answeredAtMs - o.askedAtMs) / 2;
  const offsetMs = o.otherNowMs - (o.askedAtMs + unknownMs);
  const atLeastMs = Math.max(0, Math.abs(offsetMs) - unknownMs);
  if (atLeastMs < NOTICEABLE_MS) return ok('clock', `agrees with that of ${o.other}`);
  const found = `this machine is ${words(Math.abs(offsetMs))} ${offsetMs > 0 ? 'behind' : 'ahead of'} ${o.other}`;
  const mend = 'set the clock that is wrong, and let NTP (chrony, systemd-timesyncd) keep both';
  return atLeastMs < BROKEN_MS ? warning('clock', found, mend) : broken('clock', found, mend);
}

function words(durationMs: number): string {
  const seconds = Math.round(durationMs / 1000);
  if (seconds < 120) return `${seconds} seconds`;
  const minutes = Math.round(seconds / 60);
  return minutes < 120 ? `${minutes} minutes` : `${Math.round(minutes / 60)} hours`;
}
