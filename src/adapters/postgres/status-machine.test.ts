import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type pg from 'pg';
import type { InboundMessageStatus } from '../../ports/message-store.ts';
import { addOrganisation, openTestPool } from '../../testing/postgres-fixtures.ts';

const STATUSES: readonly InboundMessageStatus[] = ['RECEIVED', 'STORED', 'PARSED', 'FAILED'];
const ALLOWED: ReadonlySet<string> = new Set(['RECEIVED STORED', 'RECEIVED FAILED', 'STORED PARSED', 'STORED FAILED']);
const PATHS: Readonly<Record<InboundMessageStatus, readonly InboundMessageStatus[]>> = {
  RECEIVED: [],
  STORED: ['STORED'],
  PARSED: ['STORED', 'PARSED'],
  FAILED: ['FAILED'],
};

async function insert(pool: pg.Pool, orgId: string, status: string): Promise<string> {
  const { rows } = await pool.query(
    `INSERT INTO inbound_message (org_id, source, received_at, status) VALUES ($1, 'EMAIL', now(), $2) RETURNING id`,
    [orgId, status],
  );
  return rows[0].id;
}

const setStatus = (pool: pg.Pool, id: string, status: string): Promise<pg.QueryResult> =>
  pool.query('UPDATE inbound_message SET status = $2 WHERE id = $1', [id, status]);

describe('the status machine, held by the database itself (FR-009)', () => {
  it('lets a message start as RECEIVED only', async (t) => {
    const { pool } = await openTestPool(t);
    const orgId = await addOrganisation(pool, 'acme');
    await insert(pool, orgId, 'RECEIVED');
    for (const status of ['STORED', 'PARSED', 'FAILED']) {
      await assert.rejects(insert(pool, orgId, status), { code: '23514' }, status);
    }
    await assert.rejects(insert(pool, orgId, 'LOST'), { code: '23514' });
  });

  it('allows exactly the transitions of the specification', async (t) => {
    const { pool } = await openTestPool(t);
    const orgId = await addOrganisation(pool, 'acme');
    for (const from of STATUSES) {
      for (const to of STATUSES) {
        const id = await insert(pool, orgId, 'RECEIVED');
        for (const step of PATHS[from]) await setStatus(pool, id, step);
        if (from === to || ALLOWED.has(`${from} ${to}`)) await setStatus(pool, id, to);
        else await assert.rejects(setStatus(pool, id, to), { code: '23514' }, `${from} → ${to}`);
      }
    }
  });

  it('lets a message out of FAILED only to RECEIVED, without its error, beside an audit entry of the same transaction', async (t) => {
    const { pool } = await openTestPool(t);
    const [orgId, other] = [await addOrganisation(pool, 'acme'), await addOrganisation(pool, 'globex')];
    const failed = async (): Promise<string> => {
      const id = await insert(pool, orgId, 'RECEIVED');
      await pool.query(`UPDATE inbound_message SET status = 'FAILED', error_json = '{"code":"x"}' WHERE id = $1`, [id]);
      return id;
    };
    const entry = (action: string, ofOrg: string) =>
      `INSERT INTO audit_log (actor, action, org_id) VALUES ('test', '${action}', '${ofOrg}')`;
    const back = (id: string, set = `status = 'RECEIVED', error_json = NULL`) =>
      `UPDATE inbound_message SET ${set} WHERE id = '${id}'`;
    const refused = { code: '23514' };
    await pool.query(entry('message.retry', orgId)); // Of another transaction.
    await assert.rejects(pool.query(back(await failed())), refused);
    for (const [made, change] of [
      [entry('message.retry', other), back(await failed())],
      [entry('org.set', orgId), back(await failed())],
      [entry('message.retry', orgId), back(await failed(), `status = 'RECEIVED'`)],
      [entry('message.retry', orgId), back(await failed(), `status = 'STORED', error_json = NULL`)],
      [entry('message.retry', orgId), back(await failed(), `status = 'PARSED', error_json = NULL`)],
    ] as const) {
      await assert.rejects(pool.query(`${made}; ${change}`), refused, `${made}; ${change}`);
    }
    await pool.query(`${entry('message.retry', orgId)}; ${back(await failed())}`);
  });

  it('never lets a message change its organisation', async (t) => {
    const { pool } = await openTestPool(t);
    const id = await insert(pool, await addOrganisation(pool, 'acme'), 'RECEIVED');
    const other = await addOrganisation(pool, 'globex');
    await assert.rejects(pool.query('UPDATE inbound_message SET org_id = $2 WHERE id = $1', [id, other]), {
      code: '23514',
    });
  });
});
