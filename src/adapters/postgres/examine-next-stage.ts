/** May a consumer be given its role, and has the next stage given up jobs that stay in the database? */
import type pg from 'pg';
import { type Finding, ok, warning } from '../../ports/finding.ts';
import { HELD } from '../graphile/queue-indexes.ts';
import { NEXT_STAGE_ROLE, nextStageRole } from './next-stage-role.ts';

const CHECK = 'next stage';

const EXHAUSTED = `
  SELECT count(*)::int AS count, min(job.payload->>'document_id') AS example
  FROM graphile_worker._private_jobs AS job JOIN graphile_worker._private_tasks AS task ON task.id = job.task_id
  WHERE task.identifier = 'extract_document' AND ${HELD} AND job.attempts >= job.max_attempts AND job.locked_at IS NULL`;

export async function examineNextStage(client: pg.Client): Promise<readonly Finding[]> {
  const { rows: found } = await client.query<{ there: boolean }>(
    `SELECT to_regclass('public.document') IS NOT NULL AND to_regclass('graphile_worker._private_jobs') IS NOT NULL AS there`,
  );
  if (found[0]?.there !== true) return [];
  const findings = [judgeRole(await nextStageRole(client)), await examineExhausted(client)].filter(
    (one) => one !== null,
  );
  return findings.length > 0 ? findings : [ok(CHECK, `${NEXT_STAGE_ROLE} is there, and no job is without attempts`)];
}

function judgeRole(role: { readonly granted: boolean } | null): Finding | null {
  if (role?.granted === true) return null;
  const run = 'run migrate, or start, which grants its rights';
  return role === null
    ? warning(
        CHECK,
        `there is no role ${NEXT_STAGE_ROLE}`,
        `as an administrator: CREATE ROLE ${NEXT_STAGE_ROLE} NOLOGIN; then ${run}`,
      )
    : warning(CHECK, `the role ${NEXT_STAGE_ROLE} may not read documents and write their status`, run);
}

async function examineExhausted(client: pg.Client): Promise<Finding | null> {
  const { rows } = await client.query<{ count: number; example: string | null }>(EXHAUSTED);
  const { count = 0, example } = rows[0] ?? {};
  if (count === 0) return null;
  return warning(
    CHECK,
    `${count} extract_document ${count === 1 ? 'job has' : 'jobs have'} no attempt left, such as that of document ${example}`,
    'mend what they failed on (last_error in graphile_worker.jobs), then jobs requeue',
  );
}
