import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { distinctFileNames } from './distinct-names.ts';

const MAX_MS = 5_000;

/** The names of parts 1, 2, 3 … in that order. */
function distinct(fileNames: readonly string[]): readonly string[] {
  const names = distinctFileNames(fileNames.map((fileName, at) => ({ partPath: String(at + 1), fileName })));
  return fileNames.map((_, at) => names.get(String(at + 1)) as string);
}

describe('distinct names', () => {
  for (const [sent, shown] of [
    [[], []],
    [
      ['a.pdf', 'b.pdf', 'a.csv', 'a'],
      ['a.pdf', 'b.pdf', 'a.csv', 'a'],
    ],
    [
      ['a.pdf', 'a.pdf', 'a.pdf'],
      ['a.pdf', 'a (2).pdf', 'a (3).pdf'],
    ],
    [
      ['a.pdf', 'a.pdf', 'a (2).pdf'],
      ['a.pdf', 'a (3).pdf', 'a (2).pdf'],
    ],
    [
      ['a (2).pdf', 'a.pdf', 'a.pdf', 'a.pdf'],
      ['a (2).pdf', 'a.pdf', 'a (3).pdf', 'a (4).pdf'],
    ],
    [
      ['a (2).pdf', 'a (2).pdf'],
      ['a (2).pdf', 'a (2) (2).pdf'],
    ],
    [
      ['a.pdf', 'a.pdf', 'A (2).PDF'],
      ['a.pdf', 'a (3).pdf', 'A (2).PDF'],
    ],
    [
      ['Order.PDF', 'order.pdf'],
      ['Order.PDF', 'order (2).pdf'],
    ],
    [
      ['Straße.pdf', 'STRASSE.PDF'],
      ['Straße.pdf', 'STRASSE (2).PDF'],
    ],
    [
      ['Ü.pdf', 'u\u0308.pdf'],
      ['Ü.pdf', 'u\u0308 (2).pdf'],
    ],
    [
      ['ü\u200dü.pdf', 'üü.pdf'],
      ['ü\u200dü.pdf', 'üü (2).pdf'],
    ],
    [
      ['archive.tar.gz', 'archive.tar.gz'],
      ['archive.tar.gz', 'archive (2).tar.gz'],
    ],
    [
      ['order', 'order'],
      ['order', 'order (2)'],
    ],
    [
      ['.htaccess', '.htaccess'],
      ['.htaccess', '.htaccess (2)'],
    ],
    [
      ['Angebot Nr. 5', 'Angebot Nr. 5'],
      ['Angebot Nr. 5', 'Angebot Nr. 5 (2)'],
    ],
    [
      ['attachment-2.pdf', 'attachment-2.pdf'],
      ['attachment-2.pdf', 'attachment-2 (2).pdf'],
    ],
  ] as const) {
    it(`of ${JSON.stringify(sent)} are ${JSON.stringify(shown)}`, () => assert.deepEqual(distinct(sent), shown));
  }

  it('are given in part order, in whatever order the documents come', () => {
    const documents = ['10', '2.m.1', '2', '3', '1.2'].map((partPath) => ({ partPath, fileName: 'a.pdf' }));
    const expected = [
      ['1.2', 'a.pdf'],
      ['2', 'a (2).pdf'],
      ['2.m.1', 'a (3).pdf'],
      ['3', 'a (4).pdf'],
      ['10', 'a (5).pdf'],
    ];
    assert.deepEqual([...distinctFileNames(documents)], expected);
    assert.deepEqual([...distinctFileNames([...documents].reverse())], expected);
  });

  it('keep 255 bytes and the extension', () => {
    const long = `${'ü'.repeat(125)}.pdf`;
    const [first, second] = distinct([long, long]);
    assert.equal(first, long);
    assert.equal(second, `${'ü'.repeat(120)} (2).pdf`);
  });

  it('are distinct for long names that differ in what makes room for the number', () => {
    const long = ['aaa', 'bbb', 'ccc'].map((end) => `${'x'.repeat(248)}${end}.pdf`);
    const names = distinct([...long, ...long]);
    assert.equal(new Set(names).size, 6);
    assert.deepEqual(
      names.slice(3),
      [2, 3, 4].map((n) => `${'x'.repeat(241)} (${n}).pdf`),
    );
  });

  for (const [kind, fileNames] of [
    ['equal names', Array.from({ length: 10_000 }, () => 'a.pdf')],
    [
      'names that are in the way of numbers',
      Array.from({ length: 10_000 }, (_, at) => (at % 2 === 0 ? 'a.pdf' : `a (${(at + 3) / 2}).pdf`)),
    ],
    [
      'long names that are equal where they are cut',
      Array.from({ length: 10_000 }, (_, at) => `${'x'.repeat(247)}${String(at >> 1).padStart(4, '0')}.pdf`),
    ],
  ] as const) {
    it(`are found in time for 10,000 ${kind}`, () => {
      const startedAt = performance.now();
      const names = distinct(fileNames);
      const durationMs = performance.now() - startedAt;
      assert.equal(new Set(names).size, 10_000);
      assert.ok(names.every((name) => Buffer.byteLength(name) <= 255));
      assert.ok(durationMs < MAX_MS, `${durationMs} ms`);
    });
  }
});
