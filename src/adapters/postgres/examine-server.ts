/** The server's own settings: version, durability, encoding, room for connections. */
import type pg from 'pg';
import { broken, type Finding, ok, warning } from '../../ports/finding.ts';
import { MIN_VERSION } from './connect.ts';

export interface ServerFacts {
  readonly version: number;
  readonly versionText: string;
  readonly database: string;
  readonly encoding: string;
  readonly standby: boolean;
  readonly readOnly: boolean;
  readonly fsync: string;
  readonly fullPageWrites: string;
  readonly synchronousCommit: string;
  /** For a login without privileges: those reserved for others are taken off. */
  readonly maxConnections: number;
  readonly usedConnections: number;
  readonly ourConnections: number;
  /** Of the database and of the login; -1 for none. */
  readonly databaseLimit: number;
  readonly loginLimit: number;
}

const FACTS = `
  SELECT current_setting('server_version_num')::int / 10000 AS version, current_setting('server_version') AS "versionText",
    datname AS database, pg_encoding_to_char(encoding) AS encoding, pg_is_in_recovery() AS standby,
    current_setting('default_transaction_read_only') = 'on' AS "readOnly",
    current_setting('fsync') AS fsync, current_setting('full_page_writes') AS "fullPageWrites",
    current_setting('synchronous_commit') AS "synchronousCommit",
    current_setting('max_connections')::int - CASE WHEN rolsuper THEN 0 ELSE
      current_setting('superuser_reserved_connections')::int + coalesce(current_setting('reserved_connections', true)::int, 0)
    END AS "maxConnections",
    (SELECT coalesce(sum(numbackends), 0)::int FROM pg_stat_database) AS "usedConnections",
    (SELECT count(*)::int FROM pg_stat_activity WHERE application_name LIKE 'orderflow-%' AND pid <> pg_backend_pid()
      AND application_name <> 'orderflow-doctor') AS "ourConnections",
    datconnlimit AS "databaseLimit", rolconnlimit AS "loginLimit"
  FROM pg_database, pg_roles WHERE datname = current_database() AND rolname = current_user`;

export async function readServerFacts(client: pg.Client): Promise<ServerFacts> {
  const { rows } = await client.query<ServerFacts>(FACTS);
  if (rows[0] === undefined) throw new Error('the database tells nothing of itself');
  return rows[0];
}

export function examineServer(facts: ServerFacts, embedded: boolean): readonly Finding[] {
  const kind = embedded ? 'the embedded PostgreSQL' : 'PostgreSQL';
  const described = `${kind} ${facts.versionText.split(' ', 1)[0]}, database "${facts.database}"`;
  return [judgeVersion(facts, described), ...judgeWriting(facts), ...judgeEncoding(facts), ...judgeDurability(facts)];
}

function judgeVersion({ version }: ServerFacts, described: string): Finding {
  if (version >= MIN_VERSION) return ok('database', `${described}, can be reached`);
  return broken('database', `${described}, is too old`, `use PostgreSQL ${MIN_VERSION} or newer`);
}

/** These may pass: a standby is promoted, an address moves to the primary. */
export function judgeWriting({ standby, readOnly }: ServerFacts): readonly Finding[] {
  if (standby) {
    return [broken('database', 'it is a standby: nothing can be written', 'set DATABASE_URL to the primary')];
  }
  if (!readOnly) return [];
  return [
    broken('database', 'default_transaction_read_only is on: nothing can be written', 'turn it off for this login'),
  ];
}

export function judgeEncoding({ encoding }: ServerFacts): readonly Finding[] {
  if (encoding === 'UTF8') return [];
  return [
    broken(
      'database',
      `its encoding is ${encoding}: subjects and file names of other scripts cannot be kept`,
      "make it anew: CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0",
    ),
  ];
}

function judgeDurability({ fsync, fullPageWrites, synchronousCommit }: ServerFacts): readonly Finding[] {
  const findings: Finding[] = [];
  if (fsync === 'off') {
    findings.push(
      broken(
        'durability',
        'the database runs with fsync=off: a power failure loses mail that got a 250, or the whole database',
        'set fsync=on in postgresql.conf and reload',
      ),
    );
  }
  if (fullPageWrites === 'off') {
    findings.push(
      broken(
        'durability',
        'the database runs with full_page_writes=off: a power failure in the middle of a page damages it',
        'set full_page_writes=on in postgresql.conf and reload (only on a file system such as ZFS may it be off)',
      ),
    );
  }
  if (synchronousCommit === 'off') {
    findings.push(
      warning(
        'durability',
        'synchronous_commit is off for this login; our own commits behind a 250 wait for the disk all the same',
        'set synchronous_commit=on, so that what others write there is kept too',
      ),
    );
  }
  return findings.length > 0
    ? findings
    : [ok('durability', 'the database waits for its disk before it says "committed"')];
}
