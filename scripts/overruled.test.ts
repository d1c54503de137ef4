import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { AttachmentRecord, MailRecord } from '../src/mime/mail-record.ts';
import type { Difference } from './expectations.ts';
import { applyOverruled, followsFromRule, type Overruled } from './overruled.ts';

const record = (part: string, mimeType: string, filename: string | null = null): AttachmentRecord => ({
  part,
  filename,
  mime_type: mimeType,
  size: 1,
  sha256: 'aa',
});
const tooMany = (part: string, mimeType: string, filename: string | null = null): Difference => ({
  kind: 'too-many',
  got: record(part, mimeType, filename),
  text: `too many: ${part}`,
});
const missing = (part: string, mimeType: string): Difference => ({
  kind: 'missing',
  want: record(part, mimeType, 'a'),
  text: `missing: ${part}`,
});
const date = (got: string | null): Difference => ({
  kind: 'header',
  field: 'date',
  want: null,
  got,
  text: `date ${got}`,
});

describe('overruled expectations of the corpus', () => {
  const entries: readonly Overruled[] = [
    { path: 'a.eml', part: '2', now: 'document', reason: 'unnamed' },
    { path: 'a.eml', part: '3', now: 'left out', reason: 'signature' },
    { path: 'a.eml', field: 'date', now: null, reason: 'H0500 is no zone' },
  ];
  const all = [tooMany('2', 'text/csv'), missing('3', 'application/pgp-signature'), date(null)];

  test('an entry overrules the difference that it names, with its reason', () => {
    assert.deepEqual(applyOverruled('a.eml', all, entries), {
      overruled: ['too many: 2 (unnamed)', 'missing: 3 (signature)', 'date null (H0500 is no zone)'],
      standing: [],
    });
  });

  test('it overrules no other part, no other value and no other mail', () => {
    const others = [tooMany('3', 'text/csv'), missing('2', 'text/csv'), date('2020-01-01T00:00:00Z')];
    const { overruled, standing } = applyOverruled('a.eml', others, entries);
    assert.deepEqual([overruled, standing.slice(0, 3)], [[], others.map(({ text }) => text)]);
    assert.deepEqual(applyOverruled('b.eml', all, entries), { overruled: [], standing: all.map(({ text }) => text) });
  });

  test('an entry that nothing differs by any more is an error', () => {
    assert.deepEqual(applyOverruled('a.eml', all.slice(0, 1), entries).standing, [
      'part 3 (left out) is listed as overruled, but is not read so',
      'date null is listed as overruled, but is not read so',
    ]);
  });
});

describe('differences between our rule and that of the oracle', () => {
  const actual: MailRecord = {
    path: 'a.eml',
    message_id: null,
    subject: null,
    from: [],
    to: [],
    date: null,
    attachments: [],
    left_out: [
      { part: '2', reason: 'image-shown-by-html' },
      { part: '3', reason: 'no-file-name-and-no-attachment-disposition' },
      { part: '4', reason: 'text-in-alternative' },
    ],
    limit: null,
    defects: [],
  };
  for (const [title, difference, follows] of [
    ['an unnamed file', tooMany('9', 'text/csv'), true],
    ['unnamed text', tooMany('9', 'text/plain'), false],
    ['an unnamed message', tooMany('9', 'message/rfc822'), false],
    ['a named file', tooMany('9', 'application/pdf', 'a.pdf'), false],
    ['an inline TIFF', tooMany('9', 'image/tiff', 'fax.tif'), true],
    ['an inline PNG', tooMany('9', 'image/png', 'logo.png'), false],
    ['a shown image', missing('2', 'image/png'), true],
    ['a CSV that is shown', missing('2', 'text/csv'), false],
    ['a lost file', missing('3', 'application/pdf'), false],
    ['a part that was never seen', missing('9', 'application/pdf'), false],
    ['text in multipart/alternative', missing('4', 'text/html'), true],
    ['a file in multipart/alternative', missing('4', 'application/pdf'), false],
  ] as const) {
    test(`${title}: ${follows ? 'follows from the rule' : 'is a finding'}`, () => {
      assert.equal(followsFromRule(difference, actual), follows);
    });
  }
});
