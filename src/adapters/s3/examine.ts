/** What `doctor` says of the bucket, and of the store's clock. */
import { once } from 'node:events';
import http from 'node:http';
import https from 'node:https';
import { clockFinding } from '../../ports/clock-offset.ts';
import { broken, type Finding, ok, warning } from '../../ports/finding.ts';
import { createBucket, identifyToStore, probeObjectStorage } from './bucket.ts';
import { authorities, type S3Settings } from './client.ts';

const CHECK = 'object store';
const CLOCK_TIMEOUT_MS = 4_000;

/** Makes nothing but a probe object, which it removes, and the bucket when asked to. Never rejects. */
export async function examineObjectStorage(
  settings: S3Settings,
  { makeBucket = false }: { readonly makeBucket?: boolean } = {},
): Promise<readonly Finding[]> {
  const { bucket, endpoint, prefix = '' } = settings;
  const where = `the bucket ${bucket} at ${endpoint}${prefix === '' ? '' : `, under ${prefix}`}`;
  try {
    const made = makeBucket && (await createBucket(settings));
    const [{ problem, warnings }, clock] = await Promise.all([probeObjectStorage(settings), examineClock(settings)]);
    if (problem !== null) return [broken(CHECK, problem, 'mend that in OBJECT_STORAGE_*, or in the store'), ...clock];
    const who = await identifyToStore(settings);
    return [
      ok(CHECK, `${where}${made ? ' was made' : ''}: written, read back and removed, by ${who}`),
      ...warnings.map((line) => warning(CHECK, line, 'see whether the store can be set up better')),
      ...clock,
    ];
  } catch (error) {
    return [broken(CHECK, (error as Error).message, 'mend that in OBJECT_STORAGE_*, or in the store')];
  }
}

/** Whatever a store answers to whom it does not know, it says when. */
async function examineClock(settings: S3Settings): Promise<readonly Finding[]> {
  const askedAtMs = Date.now();
  const otherNowMs = Date.parse((await askDate(settings).catch(() => null)) ?? '');
  if (Number.isNaN(otherNowMs)) return [];
  return [clockFinding({ other: 'the object store', otherNowMs, askedAtMs, answeredAtMs: Date.now() })];
}

async function askDate(settings: S3Settings): Promise<string | null> {
  const signal = AbortSignal.timeout(CLOCK_TIMEOUT_MS);
  const options = { method: 'HEAD', agent: false, signal } as const;
  const { endpoint } = settings;
  const request = endpoint.startsWith('https:')
    ? https.request(endpoint, { ...options, ...authorities(settings) })
    : http.request(endpoint, options);
  request.end();
  const [answer] = (await once(request, 'response')) as [http.IncomingMessage];
  answer.resume();
  return answer.headers.date ?? null;
}
