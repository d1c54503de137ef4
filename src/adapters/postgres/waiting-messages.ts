import type pg from 'pg';
import type { WaitingMessage, WaitingMessages } from '../../ports/waiting-messages.ts';

/**
 * One look into the index by organisation and status for each organisation, up to the first that has a message waiting:
 * however many messages wait, and however many there are.
 */
const behind = (comparison: string): string => `
  (SELECT message.id AS "inboundMessageId", message.org_id AS "orgId", message.trace_id AS "traceId"
   FROM org CROSS JOIN LATERAL (
     SELECT id, org_id, trace_id FROM inbound_message WHERE org_id = org.id AND status = 'RECEIVED' LIMIT 1
   ) AS message
   WHERE org.id ${comparison} $1 AND org.id <> ALL ($2) ORDER BY org.id LIMIT 1)`;

const NEXT = `${behind('>')} UNION ALL ${behind('<=')} LIMIT 1`;

/** `pool`: of a login that sees every organisation, as the job queue's does. */
export function createPostgresWaitingMessages(o: { readonly pool: pg.Pool }): WaitingMessages {
  return {
    async next({ after, except }) {
      const { rows } = await o.pool.query<WaitingMessage>({
        name: 'next-waiting-message',
        text: NEXT,
        values: [after, except],
      });
      return rows[0] ?? null;
    },
  };
}
