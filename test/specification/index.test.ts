/**
 * Where the specification is tested. Each item of its "Testing Strategy", each edge case, each acceptance scenario and
 * each requirement stands by name in the title of a test of this folder, or in this table of tests beside the code:
 *
 * | item                                                | file                                            | test |
 * | Plus-addressing parsing (valid, invalid, missing)   | src/routing/plus-address.test.ts                | valid: the organisation slug is what stands behind the plus, lower case |
 * | Org slug extraction from email address              | src/routing/router.test.ts                      | finds the organisation in orders+{slug} at any of our domains, in any case |
 * | Message-ID extraction from headers                  | src/messages/identity.test.ts                   | is the Message-ID as sent, brackets included |
 * | Deduplication key generation                        | src/messages/identity.test.ts                   | is made up, says so, and is the same for the same mail |
 * | Status state machine transitions                    | src/adapters/postgres/status-machine.test.ts    | allows exactly the transitions of the specification |
 * | MIME type validation                                | src/documents/media-type.test.ts                | the effective media type of a document |
 */
import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';

const ROOT = join(import.meta.dirname, '../..');
/** Beside the checkout of those who have it; the lists below are its copy. */
const SPECIFICATION = join(ROOT, '../shared/spec/006-smtp-ingest.md');

const TESTING_STRATEGY: Readonly<Record<string, readonly string[]>> = {
  'Unit Tests': [
    'Plus-addressing parsing (valid, invalid, missing)',
    'Org slug extraction from email address',
    'Message-ID extraction from headers',
    'Deduplication key generation',
    'Status state machine transitions',
    'MIME type validation',
  ],
  'Integration Tests': [
    'Send email to SMTP server, verify inbound_message created',
    'Send email with PDF attachment, verify document created',
    'Send email with multiple attachments, verify all extracted',
    'Send duplicate email (same Message-ID), verify only first processed',
    'Send email to unknown org slug, verify rejection',
    'Send email with no attachments, verify inbound_message created but no documents',
    'Send email with inline image, verify not processed as document',
    'Send malformed email, verify error handling',
    'Object storage failure during ingest, verify email rejected',
  ],
  'SMTP Protocol Tests': [
    'Connect to SMTP server and send valid email',
    'Test SMTP response codes (250, 451, 550)',
    'Test concurrent connections (10+ simultaneous)',
    'Test large email (near size limit)',
    'Test email with invalid encoding',
  ],
  'Attachment Extraction Tests': [
    'Extract PDF attachment',
    'Extract Excel (.xlsx) attachment',
    'Extract CSV attachment',
    'Extract ZIP attachment (store as-is)',
    'Extract attachment with Unicode filename',
    'Extract attachment with encoded filename (RFC 2047)',
    'Extract nested multipart attachments',
    'Handle corrupt attachment gracefully',
  ],
  'Deduplication Tests': [
    'Send same email twice to same org (should deduplicate)',
    'Send same email to different orgs (should NOT deduplicate)',
    'Send different emails with same subject (should NOT deduplicate)',
    'Test Message-ID collision handling',
  ],
  'Performance Tests': [
    'Process 100 emails concurrently',
    'Process email with 10 attachments',
    'Process 25MB email (max size)',
    'SMTP response time <5 seconds (P95)',
    'Attachment extraction throughput (attachments per second)',
  ],
  'Reliability Tests': [
    'SMTP server restart (no lost emails)',
    'Database connection failure (reject email)',
    'Object storage failure (reject email)',
    'Redis failure (queue email for retry)',
    'Worker crash during attachment extraction (job retry)',
  ],
};

const EDGE_CASES = [
  'What happens when an email has no Message-ID header (malformed email)?',
  'How does the system handle very large emails (>25MB)?',
  'What happens when attachment extraction fails (corrupt attachment)?',
  'How does the system handle emails with non-UTF8 characters in subject/body?',
  'What happens when object storage is unavailable during ingestion?',
  'How does the system handle emails from blacklisted domains (spam)?',
  "What happens when the org_slug in plus-address doesn't exist?",
] as const;

const numbered = (prefix: string, count: number): readonly string[] =>
  Array.from({ length: count }, (_, index) => `${prefix}-${String(index + 1).padStart(3, '0')}`);

const REQUIREMENTS = [
  ...numbered('FR', 14),
  ...numbered('TC', 5),
  ...numbered('SC', 6),
  ...numbered('RE', 4),
  ...numbered('FR-ORQ', 3),
];

/** Of the four stories: how many scenarios each has. */
const SCENARIOS = [4, 3, 4, 3].flatMap((count, story) =>
  Array.from({ length: count }, (_, scenario) => `Scenario ${story + 1}.${scenario + 1}`),
);

interface CrossReference {
  readonly item: string;
  readonly file: string;
  readonly title: string;
}

test('the tests beside the code that the table names exist', () => {
  const table = crossReferences();
  assert.equal(table.length, TESTING_STRATEGY['Unit Tests']?.length);
  for (const { file, title } of table) {
    assert.ok(readFileSync(join(ROOT, file), 'utf8').includes(`'${title}'`), `${file} has no test '${title}'`);
  }
});

for (const [group, items] of Object.entries(TESTING_STRATEGY)) {
  test(`every item of "${group}" has its test`, () => {
    const elsewhere = crossReferences().map(({ item }) => item);
    for (const item of items) {
      if (elsewhere.includes(item)) continue;
      assert.ok(
        titles().some((title) => title.includes(item)),
        `no test "${item}"`,
      );
    }
  });
}

test('every edge case, acceptance scenario and requirement has its test', () => {
  for (const name of [...EDGE_CASES, ...SCENARIOS, ...REQUIREMENTS]) {
    const whole = new RegExp(`(?<![\\w.-])${RegExp.escape(name)}(?![\\d.-])`);
    assert.ok(
      titles().some((title) => whole.test(title)),
      `no test of ${name}`,
    );
  }
});

test('the lists of this file are those of the specification', (t) => {
  if (!existsSync(SPECIFICATION))
    return t.diagnostic('the specification is not beside this checkout; nothing compared');
  const text = readFileSync(SPECIFICATION, 'utf8');
  const strategy = (text.split('## Testing Strategy\n')[1] ?? '').split(/^### /m).slice(1);
  const found = strategy.map((section) => [section.split('\n', 1)[0], itemsOf(section)]);
  assert.deepEqual(Object.fromEntries(found), TESTING_STRATEGY);
  assert.deepEqual(itemsOf(/^### Edge Cases\n([\s\S]*?)^## /m.exec(text)?.[1] ?? ''), EDGE_CASES);
  const ids = [...text.matchAll(/^- \*\*((?:FR|TC|SC|RE|FR-ORQ)-\d{3})\*\*/gm)].map(([, id]) => id ?? '');
  assert.deepEqual(ids.toSorted(), REQUIREMENTS.toSorted());
  const stories = text.split(/^### User Story /m).slice(1);
  const scenarios = stories.map((story) => story.match(/^\d\. \*\*Given\*\*/gm)?.length ?? 0);
  assert.equal(
    scenarios.reduce((sum, count) => sum + count, 0),
    SCENARIOS.length,
  );
});

function itemsOf(section: string): readonly string[] {
  return [...section.matchAll(/^- (.*)$/gm)].map(([, item]) => item ?? '');
}

function crossReferences(): readonly CrossReference[] {
  const rows = readFileSync(import.meta.filename, 'utf8').matchAll(/^ \* \| (.*?) +\| (src\/\S+) +\| (.*) \|$/gm);
  return [...rows].map(([, item = '', file = '', title = '']) => ({ item, file, title }));
}

/** What stands in `test(…)` and `t.test(…)` as a title, in all files of this folder but this. */
function titles(): readonly string[] {
  const files = readdirSync(import.meta.dirname).filter(
    (name) => name.endsWith('.test.ts') && name !== 'index.test.ts',
  );
  const sources = files.map((name) => readFileSync(join(import.meta.dirname, name), 'utf8'));
  // Titles of tests in a loop stand in a list, one a line.
  const literal = /(?:\btest\(\s*|^\s*\[)(?:'((?:[^'\\]|\\.)*)'|"((?:[^"\\]|\\.)*)"|`((?:[^`\\]|\\.)*)`)/gm;
  return sources.flatMap((source) => [...source.matchAll(literal)].map(([, a, b, c]) => a ?? b ?? c ?? ''));
}
