/** How long the disk takes to make a write durable, and whether that can be true. */
import type { FileHandle } from 'node:fs/promises';
import { type Finding, ok, warning } from '../ports/finding.ts';

const ROUNDS = 40;
const WRITE_BYTES = 4096;

/**
 * A write that lengthens a file, made durable, is a write to the medium and one to the journal. The fastest media that
 * keep it through a power failure (NVMe with capacitors, battery-backed controllers) take 20 to 100 microseconds for that,
 * ordinary NVMe and SATA 0.3 to 5 milliseconds, a turning disk 5 to 15. Below this nothing was waited for.
 */
const UNBELIEVABLE_MS = 0.015;
/** Each mail waits for it, though many mails share one. */
const SLOW_MS = 30;

/** Units: milliseconds, the median of what a sync costs beyond asking the kernel at all. */
export async function measureSync(file: FileHandle): Promise<number> {
  const piece = Buffer.alloc(WRITE_BYTES, 'doctor');
  const syncs: number[] = [];
  const questions: number[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    await file.write(piece);
    syncs.push(await timed(() => file.datasync()));
    questions.push(await timed(() => file.stat()));
  }
  return Math.max(0, median(syncs) - median(questions));
}

export function judgeSync(syncMs: number): Finding {
  const text = syncMs < 1 ? `${Math.round(syncMs * 1000)} microseconds` : `${syncMs.toFixed(1)} milliseconds`;
  if (syncMs < UNBELIEVABLE_MS) {
    return warning(
      'disk',
      `fsync takes ${text}, less than any disk: something says "written" before it is (a cache without battery, a virtual disk with cache=unsafe, libeatmydata)`,
      'turn that off, or accept that a power failure loses mail that got a 250',
    );
  }
  if (syncMs < SLOW_MS) return ok('disk', `fsync takes ${text}`);
  return warning(
    'disk',
    `fsync takes ${text}: every mail waits for that before its 250`,
    'use a faster disk (an SSD), or one that nothing else keeps busy',
  );
}

async function timed(work: () => Promise<unknown>): Promise<number> {
  const startedAt = performance.now();
  await work();
  return performance.now() - startedAt;
}

const median = (values: readonly number[]): number => values.toSorted((a, b) => a - b)[values.length >> 1] ?? 0;
