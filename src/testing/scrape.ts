import { setTimeout as sleep } from 'node:timers/promises';

/** `/metrics` is computed once a second, for all who ask meanwhile. */
const MAX_AGE_MS = 1_000;
const lastAt = new Map<string, number>();

/** The text of `/metrics`, computed after this call, as long as nobody else of this process asks. */
export async function scrape(httpUrl: string): Promise<string> {
  const wait = (lastAt.get(httpUrl) ?? Number.NEGATIVE_INFINITY) + MAX_AGE_MS + 50 - performance.now();
  if (wait > 0) await sleep(wait);
  const response = await fetch(`${httpUrl}/metrics`, { signal: AbortSignal.timeout(10_000) });
  lastAt.set(httpUrl, performance.now());
  return await response.text();
}
