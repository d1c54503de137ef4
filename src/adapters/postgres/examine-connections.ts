/** Is there room for the connections that the processes of one `start` open, at the server and at a pooler before it? */
import type pg from 'pg';
import { broken, type Finding, ok, warning } from '../../ports/finding.ts';
import type { ServerFacts } from './examine-server.ts';
import { isBehindPooler, PGBOUNCER_DEFAULT_POOL_SIZE, readPoolSize } from './pooler.ts';

/** For each purpose, over all processes. */
export type ConnectionNeed = readonly { readonly purpose: string; readonly connections: number }[];

export async function examineRoom(o: {
  readonly client: pg.Client;
  readonly url: string;
  readonly facts: ServerFacts;
  readonly needed: ConnectionNeed;
}): Promise<readonly Finding[]> {
  const sum = o.needed.reduce((total, { connections }) => total + connections, 0);
  const parts = o.needed.map(({ purpose, connections }) => `${connections} ${purpose}`).join(', ');
  const inWords = `all processes of one start may open ${sum} (${parts})`;
  const server = judgeServer(o.facts, sum, inWords);
  if (!(await isBehindPooler(o.client))) return [server];
  return [server, judgePool(await readPoolSize(o.url, o.facts.database), sum)];
}

function judgeServer(facts: ServerFacts, needed: number, inWords: string): Finding {
  const limits = [facts.maxConnections, facts.databaseLimit, facts.loginLimit].filter((limit) => limit >= 0);
  const allowed = Math.min(...limits);
  if (allowed < needed) {
    return broken(
      'connections',
      `the database allows ${allowed} connections; ${inWords}`,
      'raise max_connections (or the CONNECTION LIMIT of the login or the database)',
    );
  }
  const free = facts.maxConnections - facts.usedConnections;
  // A server that runs has its own already.
  if (facts.ourConnections > 0 || free >= needed) {
    return ok('connections', `the database allows ${allowed} of ours; ${inWords}`);
  }
  return warning(
    'connections',
    `only ${Math.max(0, free)} of the database's ${facts.maxConnections} connections are free; ${inWords}`,
    'raise max_connections, or let others use fewer',
  );
}

/** In session mode each of our connections takes one of the pool for as long as it is open. */
function judgePool(poolSize: number | null, needed: number): Finding {
  const mend = `set PgBouncer's default_pool_size (or the pooler's like) to ${needed} or more for each start`;
  if (poolSize === null) {
    const unseen = `there is a pooler in between, whose size cannot be seen (PgBouncer's default is ${PGBOUNCER_DEFAULT_POOL_SIZE}); ${needed} connections are needed`;
    return needed > PGBOUNCER_DEFAULT_POOL_SIZE ? warning('connections', unseen, mend) : ok('connections', unseen);
  }
  return poolSize < needed
    ? broken('connections', `the pooler in between gives ${poolSize} connections; ${needed} are needed`, mend)
    : ok('connections', `the pooler in between gives ${poolSize} connections; ${needed} are needed`);
}
