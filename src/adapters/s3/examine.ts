/** What `doctor` says of the bucket, and of the store's clock. */
import { clockFinding } from '../../ports/clock-offset.ts';
import { broken, type Finding, ok, warning } from '../../ports/finding.ts';
import { createBucket, probeObjectStorage } from './bucket.ts';
import type { S3Settings } from './client.ts';

const CHECK = 'object store';
const CLOCK_TIMEOUT_MS = 4_000;

/** Makes nothing but a probe object, which it removes, and the bucket when asked to. Never rejects. */
export async function examineObjectStorage(
  settings: S3Settings,
  { makeBucket = false }: { readonly makeBucket?: boolean } = {},
): Promise<readonly Finding[]> {
  const where = `the bucket ${settings.bucket} at ${settings.endpoint}`;
  try {
    const made = makeBucket && (await createBucket(settings));
    const [{ problem, warnings }, clock] = await Promise.all([probeObjectStorage(settings), examineClock(settings)]);
    if (problem !== null) return [broken(CHECK, problem, 'mend that in OBJECT_STORAGE_*, or in the store'), ...clock];
    return [
      ok(CHECK, `${where}${made ? ' was made' : ''}: written, read back and removed`),
      ...warnings.map((line) => warning(CHECK, line, 'see whether the store can be set up better')),
      ...clock,
    ];
  } catch (error) {
    return [broken(CHECK, (error as Error).message, 'mend that in OBJECT_STORAGE_*, or in the store')];
  }
}

/** Whatever a store answers to whom it does not know, it says when. */
async function examineClock({ endpoint }: S3Settings): Promise<readonly Finding[]> {
  const askedAtMs = Date.now();
  const date = await fetch(endpoint, { method: 'HEAD', signal: AbortSignal.timeout(CLOCK_TIMEOUT_MS) }).then(
    ({ headers }) => headers.get('date'),
    () => null,
  );
  const otherNowMs = Date.parse(date ?? '');
  if (Number.isNaN(otherNowMs)) return [];
  return [clockFinding({ other: 'the object store', otherNowMs, askedAtMs, answeredAtMs: Date.now() })];
}
