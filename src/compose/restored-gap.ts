/** What a restored database has forgotten, as the server and `doctor` tell of it until somebody has decided what becomes of it. */
import { createPostgresGapMemory } from '../adapters/postgres/gap-memory.ts';
import { createPostgresMarkMemory } from '../adapters/postgres/mark-memory.ts';
import { createPool } from '../adapters/postgres/pool.ts';
import { createPostgresReconciliation } from '../adapters/postgres/reconciliation.ts';
import type { KnownGap } from '../ports/gap-memory.ts';
import { rememberGapObjects } from '../reconcile/gap-count.ts';
import type { Closers } from './closers.ts';
import type { Parts } from './parts.ts';
import type { Pools } from './pools.ts';

/** It reads whole tables, and nobody waits for it. */
const COUNT_STATEMENT_MS = 10 * 60_000;

/** In the background, where the start has noticed a restore. A count that fails is told; `reconcile` counts as well. */
export function countGap({ url, pools, objects, log }: Parts, closers: Closers): void {
  const stopping = new AbortController();
  const count = async (): Promise<void> => {
    const known = await createPostgresGapMemory({ pool: pools.view }).recall();
    if (known === null || known.objects !== null) return;
    const pool = createPool({
      url,
      applicationName: 'orderflow-gap',
      maxConnections: 1,
      statementTimeoutMs: COUNT_STATEMENT_MS,
      log,
    });
    try {
      const gapMemory = createPostgresGapMemory({ pool });
      const memory = createPostgresMarkMemory({ pool });
      const rows = createPostgresReconciliation({ pool });
      await rememberGapObjects({ objects, rows, memory, gapMemory, signal: stopping.signal });
      const gap = await gapMemory.recall();
      if (gap !== null && isUndecided(gap)) log.warn(gapInWords(gap), RESTORED);
    } finally {
      await pool.end();
    }
  };
  const counting = count().catch((err: unknown) => {
    if (!stopping.signal.aborted) log.warn({ err }, 'what a restore has made rowless could not be counted');
  });
  closers.add('count of what a restore has lost', async () => {
    stopping.abort();
    await counting;
  });
}

const RESTORED =
  'the database was restored: mails that got a 250 may have no row; reconcile --redeliver hands them in again';

export const isUndecided = ({ objects }: KnownGap): boolean =>
  objects === null || objects.mails + objects.documents > 0;

/** A restored database works, and somebody has to hear of what it has forgotten. */
export async function detailsOfRestore({ view }: Pick<Pools, 'view'>): Promise<{ readonly restored: object } | null> {
  const gap = await createPostgresGapMemory({ pool: view }).recall();
  return gap !== null && isUndecided(gap) ? { restored: gapInWords(gap) } : null;
}

/** Shape: for the log and `/readyz`; `mails` and `documents` are null until they are counted. */
function gapInWords({ begins, ends, objects }: KnownGap) {
  return {
    since: begins?.toISOString() ?? null,
    until: ends.toISOString(),
    mails_without_row: objects?.mails ?? null,
    documents_without_row: objects?.documents ?? null,
    mend: 'reconcile lists them, reconcile --redeliver hands the mails in again',
  };
}
