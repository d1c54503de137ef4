/**
 * Filters as SQL. Newest first, organisation by organisation, through the index on `(org_id, received_at)`: with `since`, only that
 * time is read; without, as much as it takes to find `limit` of them.
 */
import type { DocumentFilter, MessageFilter } from '../../ports/message-view.ts';
import { storableText } from './text.ts';

/** Conditions, and the values of their parameters. */
export interface Condition {
  readonly sql: string;
  readonly values: readonly unknown[];
}

type Clause = readonly [sql: (parameter: string) => string, value: unknown];

const parts = (text: string): string => `%${(storableText(text) as string).replace(/[\\%_]/g, '\\$&')}%`;

const within = (column: string, { since, until }: Pick<MessageFilter, 'since' | 'until'>): readonly Clause[] => [
  ...clause(since, (p) => `${column} >= ${p}::timestamptz`),
  ...clause(until, (p) => `${column} < ${p}::timestamptz`),
];

function clause(value: unknown, sql: (parameter: string) => string): readonly Clause[] {
  return value === undefined ? [] : [[sql, value]];
}

const like = (text: string | undefined, sql: (parameter: string) => string): readonly Clause[] =>
  clause(text === undefined ? undefined : parts(text), sql);

function all(clauses: readonly Clause[], first: number): Condition {
  const sql = clauses.map(([text], index) => ` AND ${text(`$${first + index}`)}`).join('');
  return { sql, values: clauses.map(([, value]) => value) };
}

const HAS_DOCUMENT = 'EXISTS (SELECT FROM document WHERE document.inbound_message_id = message.id';

/** A part that became no document has a name, too; `parts_json` is of any version. */
const FILE = (p: string): string => `(${HAS_DOCUMENT} AND document.file_name ILIKE ${p}) OR EXISTS (
  SELECT FROM jsonb_array_elements(CASE jsonb_typeof(message.parts_json) WHEN 'array' THEN message.parts_json ELSE '[]' END) AS part
  WHERE part->>'file_name' ILIKE ${p}))`;

/** On `inbound_message AS message`, to be added to others; parameters from `$first` on. null: none is meant. */
export function messageConditions(filter: MessageFilter, first: number): Condition | null {
  if (filter.status === 'CONFLICT') return null;
  const clauses: readonly Clause[] = [
    ...clause(filter.status, (p) => `message.status = ${p}`),
    ...like(filter.from, (p) => `(message.from_email::text ILIKE ${p} OR message.header_from ILIKE ${p})`),
    ...like(filter.to, (p) => `(message.to_email::text ILIKE ${p} OR message.header_to ILIKE ${p})`),
    ...like(filter.subject, (p) => `message.subject ILIKE ${p}`),
    ...like(filter.file, FILE),
    ...clause(filter.documentStatus, (p) => `${HAS_DOCUMENT} AND document.status = ${p})`),
    ...within('message.received_at', filter),
  ];
  const { sql, values } = all(clauses, first);
  return { sql: filter.noDocuments ? `${sql} AND NOT ${HAS_DOCUMENT})` : sql, values };
}

/** The same on `inbound_conflict AS conflict`, which has no documents. */
export function conflictConditions(filter: MessageFilter, first: number): Condition | null {
  const ofMessages =
    (filter.status !== undefined && filter.status !== 'CONFLICT') || filter.documentStatus !== undefined;
  if (ofMessages || filter.file !== undefined) return null;
  return all(
    [
      ...like(filter.from, (p) => `conflict.from_email::text ILIKE ${p}`),
      ...like(filter.to, (p) => `conflict.to_email::text ILIKE ${p}`),
      ...like(filter.subject, (p) => `conflict.subject ILIKE ${p}`),
      ...within('conflict.received_at', filter),
    ],
    first,
  );
}

/** On `document`. */
export function documentConditions(filter: DocumentFilter, first: number): Condition {
  return all(
    [
      ...clause(filter.status, (p) => `document.status = ${p}`),
      ...like(filter.file, (p) => `document.file_name ILIKE ${p}`),
      ...within('document.created_at', filter),
    ],
    first,
  );
}
