/**
 * What a migration may not do while processes of the version before are taking mail: break their statements, or hold a
 * table of any size for longer than a moment. Each rule says what to do instead. It reads text, so it can be wrong;
 * a line `-- safe: <why>` before the statement overrules it.
 */
export interface Finding {
  readonly statement: string;
  readonly instead: string;
}

interface Rule {
  readonly forbids: RegExp;
  readonly unless?: RegExp;
  readonly instead: string;
}

const EXPAND_FIRST = 'old processes still use it: stop using it in one release, remove it in the next';

const RULES: readonly Rule[] = [
  { forbids: /\bDROP\s+(TABLE|VIEW|FUNCTION|TYPE|SCHEMA|COLUMN|POLICY|ROLE)\b/i, instead: EXPAND_FIRST },
  { forbids: /\bALTER\s+TABLE\b.*\bDROP\s+(?!CONSTRAINT|NOT\s+NULL|DEFAULT)\w/is, instead: EXPAND_FIRST },
  { forbids: /\bRENAME\b/i, instead: `${EXPAND_FIRST}; add the new name beside it` },
  { forbids: /\bREVOKE\b|\bALTER\s+(COLUMN\s+)?\w+\s+DROP\s+DEFAULT\b/i, instead: EXPAND_FIRST },
  {
    forbids: /\bALTER\s+(COLUMN\s+)?\w+\s+(SET\s+DATA\s+)?TYPE\b/i,
    instead: 'it rewrites the table: add a column of the new type',
  },
  {
    forbids: /\bADD\s+(COLUMN\s+)?(IF\s+NOT\s+EXISTS\s+)?\w+\s+[^,]*\bNOT\s+NULL\b(?![^,]*\bDEFAULT\b)/i,
    unless: /^CREATE\b|\bADD\s+CONSTRAINT\b/i,
    instead: 'old processes do not fill it: give it a default, or let it be null',
  },
  {
    forbids: /\bSET\s+NOT\s+NULL\b/i,
    instead: 'old processes may leave it empty, and all rows are looked at under a lock: add a CHECK … NOT VALID later',
  },
  {
    forbids:
      /\bADD\s+(COLUMN\s+)?.*(\bDEFAULT\s+(gen_random_uuid|uuidv7|random|clock_timestamp|nextval)\b|\b(big)?serial\b|\bSTORED\b|\bIDENTITY\b)/is,
    unless: /^CREATE\b/i,
    instead: 'a default that differs from row to row rewrites the table: add the column without, fill it in steps',
  },
  {
    forbids: /\bADD\s+(CONSTRAINT\s+\S+\s+)?(CHECK|FOREIGN)\b|\bADD\s+(COLUMN\s+)?.*\b(CHECK|REFERENCES)\b/is,
    unless: /^CREATE\b|\bNOT\s+VALID\b/i,
    instead: 'all rows are looked at under a lock: add it NOT VALID, and VALIDATE it in the next migration',
  },
  {
    forbids: /\bADD\s+.*\b(UNIQUE|PRIMARY\s+KEY|EXCLUDE)\b/is,
    unless: /^CREATE\b|\bUSING\s+INDEX\b/i,
    instead: 'it builds an index under a lock, and old processes do not know the rule',
  },
  {
    forbids: /^CREATE\s+(UNIQUE\s+)?INDEX\b(?!\s+CONCURRENTLY)/i,
    instead:
      'nobody can write while it is built: on a table that may be large build it CONCURRENTLY, outside of a transaction',
  },
  {
    forbids: /^(UPDATE|DELETE)\b/i,
    unless: /\bWHERE\b/i,
    instead: 'it locks every row until it ends: let the new version fill rows as it meets them',
  },
  {
    forbids: /^(TRUNCATE|LOCK|CLUSTER|REINDEX|VACUUM|REFRESH)\b/i,
    instead: 'it holds the table; it is for an operator to do',
  },
  { forbids: /^(COMMIT|ROLLBACK|BEGIN)\b/i, instead: 'a migration is one transaction, and that is begun for it' },
];

/** Tables made in the same migration are empty, and nobody else knows them: for those all but the last rules are off. */
export function findingsIn(sql: string): readonly Finding[] {
  const statements = statementsOf(sql);
  const made = new Set(
    statements.flatMap(({ text }) => /^CREATE\s+TABLE\s+(?:IF\s+NOT\s+EXISTS\s+)?(\w+)/i.exec(text)?.[1] ?? []),
  );
  return statements.flatMap(({ text, overruled }) => {
    if (overruled || made.has(tableOf(text))) return [];
    return RULES.filter(({ forbids, unless }) => forbids.test(text) && !unless?.test(text)).map(({ instead }) => ({
      statement: text,
      instead,
    }));
  });
}

function tableOf(statement: string): string {
  const alter = /^(?:ALTER\s+TABLE(?:\s+IF\s+EXISTS)?(?:\s+ONLY)?|UPDATE|DELETE\s+FROM)\s+(\w+)/i.exec(statement);
  const index = /^CREATE\s+(?:UNIQUE\s+)?INDEX\b.*?\bON\s+(?:ONLY\s+)?(\w+)/is.exec(statement);
  return (alter ?? index)?.[1] ?? '';
}

/** Without comments, bodies of functions and texts: what is in those is not run now. */
function statementsOf(sql: string): readonly { readonly text: string; readonly overruled: boolean }[] {
  const bare = sql
    .replace(/\$(\w*)\$.*?\$\1\$/gs, "''")
    .replace(/'(?:[^']|'')*'|--.*$/gm, (found) => (found.startsWith('--') ? found : "''"))
    .replace(/\/\*.*?\*\//gs, ' ');
  return bare
    .split(';')
    .map((piece) => ({
      overruled: /^\s*-- safe: \S/m.test(piece),
      text: piece.replace(/--.*$/gm, '').replace(/\s+/g, ' ').trim(),
    }))
    .filter(({ text }) => text !== '');
}
