import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { Defect, DefectCode, MailEvent, MailHeader, PartHeader } from '../mime/index.ts';
import { readMailHeader } from '../mime/index.ts';
import { createNoteCollector } from './notes.ts';

const nothing: MailHeader = readMailHeader(Buffer.from('Subject: x\r\n\r\n'));
const partHeader: PartHeader = {
  mediaType: 'multipart/mixed',
  declaredMediaType: 'multipart/mixed',
  charset: null,
  disposition: null,
  fileName: null,
  transferEncoding: '7bit',
  contentId: null,
  contentLocation: null,
};

const defects = (...codes: readonly DefectCode[]): readonly Defect[] =>
  codes.map((code) => ({ code, message: `about ${code}` }));
const header = (...codes: readonly DefectCode[]): MailEvent => ({
  type: 'header',
  header: { ...nothing, defects: defects(...codes) },
});
const multipartBegin = (path: string): MailEvent => ({ type: 'multipart-begin', path, header: partHeader });
const multipartEnd = (path: string, ...codes: readonly DefectCode[]): MailEvent => ({
  type: 'multipart-end',
  path,
  defects: defects(...codes),
  blank: false,
});
const partEnd = (path: string, ...codes: readonly DefectCode[]): MailEvent => ({
  type: 'part-end',
  path,
  defects: defects(...codes),
  sizeBytes: 1,
});

function notesOf(events: readonly MailEvent[], names: Readonly<Record<string, string>> = {}) {
  const collector = createNoteCollector();
  for (const event of events) collector.observe(event);
  return collector.notes((part) => names[part] ?? null, 0);
}

const inShort = (events: readonly MailEvent[]) => notesOf(events).map(({ code, part }) => [code, part]);

describe('the notes of a message', () => {
  it('name the part and its file; those of the mail itself come first, the parts in their order', () => {
    const events = [
      header('header-late'),
      multipartBegin(''),
      partEnd('10', 'base64-cut'),
      multipartBegin('2.m'),
      partEnd('2.m.1', 'base64-junk', 'base64-cut'),
      multipartEnd('2.m', 'boundary-guessed'),
      partEnd('2', 'field-repeated'),
      multipartEnd('', 'multipart-not-closed'),
    ];
    assert.deepEqual(notesOf(events, { 10: 'order.pdf', '2.m.1': 'a.csv' }), [
      { code: 'header-late', part: null, text: 'about header-late' },
      { code: 'multipart-not-closed', part: null, text: 'about multipart-not-closed' },
      { code: 'field-repeated', part: '2', text: 'about field-repeated' },
      { code: 'boundary-guessed', part: '2.m', text: 'about boundary-guessed' },
      { code: 'base64-cut', part: '2.m.1', text: 'a.csv: about base64-cut' },
      { code: 'base64-junk', part: '2.m.1', text: 'a.csv: about base64-junk' },
      { code: 'base64-cut', part: '10', text: 'order.pdf: about base64-cut' },
    ]);
  });

  it('say nothing of defects that a person need not know of', () => {
    assert.deepEqual(
      notesOf([header('address-malformed', 'date-malformed'), partEnd('1', 'quoted-printable-trailing-space')]),
      [],
    );
  });

  it('say once what is odd about the header of a mail of one part, which is that of the part too', () => {
    const events = [header('header-late'), partEnd('1', 'header-late', 'base64-cut')];
    assert.deepEqual(inShort(events), [
      ['header-late', null],
      ['base64-cut', '1'],
    ]);
    const multipart = [header('header-late'), multipartBegin(''), multipartEnd('', 'header-late', 'boundary-missing')];
    assert.deepEqual(inShort(multipart), [
      ['boundary-missing', null],
      ['header-late', null],
    ]);
  });

  it('say it twice where the first part of a multipart is as odd as the header of the mail', () => {
    assert.deepEqual(inShort([header('header-late'), multipartBegin(''), partEnd('1', 'header-late')]), [
      ['header-late', null],
      ['header-late', '1'],
    ]);
  });

  it('are at most 50: of more the first 49, and one that counts the others', () => {
    const parts = (count: number) =>
      Array.from({ length: count }, (_, index) => partEnd(String(index + 1), 'base64-cut'));
    const many = (count: number) => notesOf([multipartBegin(''), ...parts(count)]);
    assert.equal(many(49).length, 49);
    assert.deepEqual(many(50).at(-1), { code: 'base64-cut', part: '50', text: 'about base64-cut' });
    assert.equal(many(50).length, 50);
    for (const [count, text] of [
      [51, '2 more notes, not listed'],
      [52, '3 more notes, not listed'],
      [10_000, '9951 more notes, not listed'],
    ] as const) {
      const notes = many(count);
      assert.equal(notes.length, 50);
      assert.deepEqual(notes.at(-2), { code: 'base64-cut', part: '49', text: 'about base64-cut' });
      assert.deepEqual(notes.at(-1), { code: 'more', part: null, text, detail: { count: count - 49 } });
    }
  });

  it('keep those of the mail itself when there are too many, though they are known last', () => {
    const parts = Array.from({ length: 200 }, (_, index) => partEnd(String(index + 1), 'base64-cut'));
    const notes = inShort([multipartBegin(''), ...parts, multipartEnd('', 'multipart-not-closed')]);
    assert.deepEqual(notes[0], ['multipart-not-closed', null]);
    assert.deepEqual(notes[48], ['base64-cut', '48']);
  });

  it('are on one line and short, whatever the name is', () => {
    const text = (name: string) => notesOf([multipartBegin(''), partEnd('1', 'base64-cut')], { 1: name })[0]?.text;
    assert.equal(text(`${'x'.repeat(196)}.pdf`), `${'x'.repeat(196)}.pdf: about base64-cut`);
    assert.equal(text(`${'x'.repeat(197)}.pdf`), `${'x'.repeat(197)}.p…: about base64-cut`);
    assert.equal(text('📦'.repeat(200)), `${'📦'.repeat(200)}: about base64-cut`);
    assert.equal(text('📦'.repeat(201)), `${'📦'.repeat(199)}…: about base64-cut`);
    assert.equal(text(`x${'📦'.repeat(1_000_000)}`), `x${'📦'.repeat(198)}…: about base64-cut`);
    assert.equal(text('two\r\nlines.pdf'), 'two  lines.pdf: about base64-cut');
  });
});
