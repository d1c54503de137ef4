import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { documentFileName } from './file-name.ts';

const named = (sent: string | null): string => documentFileName(sent, '2.1', 'application/pdf');

describe('the name of a document', () => {
  for (const [sent, shown] of [
    ['order.pdf', 'order.pdf'],
    ['Bestellung Müller & Söhne.pdf', 'Bestellung Müller & Söhne.pdf'],
    ['注文書.xlsx', '注文書.xlsx'],
    ['../../etc/passwd', 'passwd'],
    ['C:\\orders\\order.pdf', 'order.pdf'],
    ['php://filter/order.pdf', 'order.pdf'],
    ['or\0der\r\n.pdf', 'order.pdf'],
    ['order\u202efdp.exe', 'orderfdp.exe'],
    ['\ufeff\u200border.pdf', 'order.pdf'],
    ['Bestellung Mu\u0308ller.pdf', 'Bestellung Müller.pdf'],
    ['  order.pdf  ', 'order.pdf'],
    ['CON.pdf', '_CON.pdf'],
    ['lpt1', '_lpt1'],
    ['console.pdf', 'console.pdf'],
    ['.htaccess', '.htaccess'],
    ['a\ud800b.pdf', 'a\ufffdb.pdf'],
  ] as const) {
    it(`shows ${JSON.stringify(sent)} as ${JSON.stringify(shown)}`, () => assert.equal(named(sent), shown));
  }

  for (const unusable of [null, '', '   ', '..', '....', '/', 'a/', 'x\\', '\u202e\0', './..']) {
    it(`makes one up for ${JSON.stringify(unusable)}`, () => assert.equal(named(unusable), 'attachment-2.1.pdf'));
  }

  it('makes one up without extension for a type that has none', () => {
    assert.equal(documentFileName(null, '3', 'application/octet-stream'), 'attachment-3');
  });

  it('cuts a long name to 255 bytes at a whole character, keeping the extension', () => {
    for (const stem of ['x'.repeat(10_000), 'ü'.repeat(5_000), '😀'.repeat(2_000)]) {
      const name = named(`${stem}.pdf`);
      assert.ok(Buffer.byteLength(name) <= 255 && Buffer.byteLength(name) > 250, String(Buffer.byteLength(name)));
      assert.ok(name.endsWith('.pdf') && name.isWellFormed());
    }
  });

  it('takes no endless extension for one', () => {
    assert.ok(Buffer.byteLength(named(`a.${'x'.repeat(10_000)}`)) <= 255);
  });
});
