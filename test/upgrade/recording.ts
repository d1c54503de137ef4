/**
 * The statements of a version of the product, recorded from its own code, so that they can be run again, as they were,
 * on the schema of a later one: that is what processes of the old version do while the new one migrates.
 */
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import pg from 'pg';

export const RECORDINGS_DIR = join(import.meta.dirname, '../../testdata/upgrades');

export interface Step {
  readonly text: string;
  readonly values: readonly unknown[];
  readonly rows: readonly Row[];
}

export interface Recording {
  /** Of the product whose statements these are. */
  readonly version: string;
  /** The newest it knew. */
  readonly newestMigration: string;
  readonly steps: readonly Step[];
}

type Row = Readonly<Record<string, unknown>>;

/** Oldest first. Errors: an empty folder. */
export async function loadRecordings(): Promise<readonly Recording[]> {
  const names = (await readdir(RECORDINGS_DIR)).filter((name) => name.endsWith('.json')).sort();
  assert.ok(names.length > 0, `no recordings in ${RECORDINGS_DIR}`);
  return Promise.all(names.map(async (name) => JSON.parse(await readFile(join(RECORDINGS_DIR, name), 'utf8'))));
}

/** Of the versions that the changelog says were released, those whose statements nobody kept. */
export function unrecorded(changelog: string, recordings: readonly Recording[]): readonly string[] {
  const released = Array.from(changelog.matchAll(/^## \[?v?(\d+\.\d+\.\d+)/gm), ([, version = '']) => version);
  return released.filter((version) => !recordings.some((recording) => recording.version === version));
}

type Query = (...given: unknown[]) => unknown;

/** Everything that goes over the pool from now on, in order. Owns: the pool has to be of one connection. */
export function recordStatements(pool: pg.Pool): readonly Step[] {
  const steps: Step[] = [];
  pool.on('connect', (client) => {
    const query = client.query.bind(client) as Query;
    client.query = ((...given: unknown[]) => {
      const [first, second] = given;
      const { text, values = [] } =
        typeof first === 'string'
          ? { text: first, values: Array.isArray(second) ? second : [] }
          : (first as pg.QueryConfig);
      const rows: Row[] = [];
      steps.push({ text, values, rows });
      const keep = (result: pg.QueryResult | undefined): void => void rows.push(...(result?.rows ?? []));
      const callback = given.at(-1);
      if (typeof callback !== 'function') {
        return (query(...given) as Promise<pg.QueryResult>).then((result) => {
          keep(result);
          return result;
        });
      }
      return query(...given.slice(0, -1), (error: unknown, result?: pg.QueryResult) => {
        keep(result);
        callback(error, result);
      });
    }) as never;
  });
  return steps;
}

const UUID = /[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}/g;

/**
 * Runs the statements again under ids of their own, on one connection. A statement with parameters has to answer what it
 * answered when it was recorded; more columns are no harm.
 */
export async function replay(url: string, { steps }: Pick<Recording, 'steps'>): Promise<void> {
  const names = new Map<string, string>();
  const client = new pg.Client({ connectionString: url, application_name: 'replay', statement_timeout: 30_000 });
  client.on('error', () => {});
  await client.connect();
  try {
    for (const step of steps) {
      const text = renamed(step.text, names);
      const values = JSON.parse(renamed(JSON.stringify(step.values), names));
      const result = await client.query(values.length === 0 ? { text } : { text, values });
      if (values.length > 0) compare(step, result.rows, names);
    }
  } finally {
    await client.end();
  }
}

/** Another id, in the place of the old one: what was received in one millisecond is listed by its id. */
function renamed(text: string, names: Map<string, string>): string {
  return text.replace(UUID, (name) => {
    const known = names.get(name) ?? `${name.slice(0, -RANDOM_DIGITS)}${randomUUID().slice(-RANDOM_DIGITS)}`;
    names.set(name, known);
    return known;
  });
}

/** Of an id of version 7 as `uuid` makes it: before them stand the time and a counter. */
const RANDOM_DIGITS = 10;

function compare({ text, rows }: Step, found: readonly Row[], names: Map<string, string>): void {
  assert.equal(found.length, rows.length, text);
  for (const [index, row] of rows.entries()) {
    for (const [column, recorded] of Object.entries(row)) {
      const value = found[index]?.[column];
      // Ids that the database gave, and times.
      if (typeof recorded === 'string' && isUuid(recorded) && !names.has(recorded)) names.set(recorded, String(value));
      if (value instanceof Date) continue;
      const wanted = JSON.parse(renamed(JSON.stringify(recorded), names));
      assert.deepEqual(JSON.parse(JSON.stringify(value ?? null)), wanted, `${column} of ${text}`);
    }
  }
}

const isUuid = (text: string): boolean => text.length === 36 && text.match(UUID) !== null;
