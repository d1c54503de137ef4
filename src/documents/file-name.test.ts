import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { documentFileName } from './file-name.ts';

const named = (sent: string | null): string => documentFileName(sent, '2.1', 'application/pdf');

/** Of a hostile name; quadratic time shows as seconds. */
const MAX_MS = 1_000;

function cleanedIn(sent: string): { readonly name: string; readonly durationMs: number } {
  const startedAt = performance.now();
  const name = named(sent);
  return { name, durationMs: performance.now() - startedAt };
}

describe('the name of a document', () => {
  for (const [kind, names] of Object.entries({
    'an ordinary name': [
      ['order.pdf', 'order.pdf'],
      ['Bestellung Müller & Söhne.pdf', 'Bestellung Müller & Söhne.pdf'],
      ['注文書.xlsx', '注文書.xlsx'],
      ['hWoZ65%8Bw.pdf', 'hWoZ65%8Bw.pdf'],
      ['=03_order.xlsx.XLS', '=03_order.xlsx.XLS'],
      ['Rack 19" order.pdf', 'Rack 19" order.pdf'],
      ['order <4711> a|b*?.pdf', 'order <4711> a|b*?.pdf'],
      ['order  5.pdf', 'order  5.pdf'],
      ['.htaccess', '.htaccess'],
      ['~$order.xlsx', '~$order.xlsx'],
      ['..order.pdf', '..order.pdf'],
    ],
    'a path, of which the last segment is kept': [
      ['../../etc/passwd', 'passwd'],
      ['./order.pdf', 'order.pdf'],
      ['..\\order.pdf', 'order.pdf'],
      ['/home/anna/order.pdf', 'order.pdf'],
      ['\\orders\\order.pdf', 'order.pdf'],
      ['\\\\server\\share\\Auftrag 5.pdf', 'Auftrag 5.pdf'],
      ['C:\\orders\\order.pdf', 'order.pdf'],
      ['C:\\fakepath\\order.pdf', 'order.pdf'],
      ['c:/orders\\2026/order.pdf', 'order.pdf'],
      ['C:order.pdf', 'order.pdf'],
      [' C:\\orders\\order.pdf', 'order.pdf'],
      ['\u200eC:\\orders\\order.pdf', 'order.pdf'],
      ['~/order.pdf', 'order.pdf'],
      ['~anna/orders/order.pdf', 'order.pdf'],
      ['file:///C:/orders/order.pdf', 'order.pdf'],
      ['file:/orders/order.pdf', 'order.pdf'],
      ['https://shop.example.com/o/order.pdf', 'order.pdf'],
      ['php://filter/order.pdf', 'order.pdf'],
      ['a/../../etc/passwd', 'passwd'],
      ['a\\..\\order.pdf', 'order.pdf'],
      ['/orders/', 'orders'],
    ],
    'a name with separators, which is no path': [
      ['Auftrag 225/2385/5648.pdf', 'Auftrag 225_2385_5648.pdf'],
      ['Angebot 5/6', 'Angebot 5_6'],
      ['orders\\2026\\a.pdf', 'orders_2026_a.pdf'],
      ['B: Angebot 5/6.pdf', 'B: Angebot 5_6.pdf'],
      ['Order: 5/6.pdf', 'Order: 5_6.pdf'],
      ['5/..6/7.pdf', '5_..6_7.pdf'],
      ['.order/5.pdf', '.order_5.pdf'],
      ['a~/5.pdf', 'a~_5.pdf'],
      ['a//b.pdf', 'a__b.pdf'],
      ['a/', 'a'],
      ['x\\', 'x'],
      ['order.pdf\\', 'order.pdf'],
      ['Auftrag 5/6/', 'Auftrag 5_6'],
    ],
    'dots and blanks at the ends': [
      ['  order.pdf  ', 'order.pdf'],
      ['order.csv.', 'order.csv'],
      ['order.csv. . ', 'order.csv'],
      ['order.csv ', 'order.csv'],
      ['order.csv\u00a0', 'order.csv'],
      ['order.csv\u3164', 'order.csv'],
      ['C:\\orders.\\order.csv. ', 'order.csv'],
    ],
    'tabs and line ends': [
      ['Auftrag\tNr. 5.pdf', 'Auftrag Nr. 5.pdf'],
      ['Auftrag\r\n\tNr.\u20285.pdf', 'Auftrag Nr. 5.pdf'],
      ['Auftrag \tNr.\t 5.pdf', 'Auftrag Nr. 5.pdf'],
      ['\torder.pdf\n', 'order.pdf'],
      ['order\r\n.pdf', 'order.pdf'],
      ['or\0der\r\n.pdf', 'order.pdf'],
    ],
    'invisible characters': [
      ['order\u202efdp.exe', 'orderfdp.exe'],
      ['\ufeff\u200border.pdf', 'order.pdf'],
      ['order.csv\u200f', 'order.csv'],
      ['order.c\u200dsv\u200c', 'order.csv'],
      ['Bestell\u00adung.pdf', 'Bestellung.pdf'],
      ['order\u{e0041}.pdf', 'order.pdf'],
      ['سفارش\u200cها.pdf', 'سفارش\u200cها.pdf'],
      ['👩\u200d🔧 order.pdf', '👩\u200d🔧 order.pdf'],
      ['Bestellung Mu\u0308ller.pdf', 'Bestellung Müller.pdf'],
      ['a\ud800b.pdf', 'a\ufffdb.pdf'],
    ],
    'a device of Windows': [
      ['CON.pdf', '_CON.pdf'],
      ['nul .pdf', '_nul .pdf'],
      ['lpt1', '_lpt1'],
      ['COM¹.tar.gz', '_COM¹.tar.gz'],
      ['C:\\aux', '_aux'],
      ['console.pdf', 'console.pdf'],
      ['con-4711.pdf', 'con-4711.pdf'],
    ],
  })) {
    describe(`for ${kind}`, () => {
      for (const [sent, shown] of names as readonly (readonly string[])[]) {
        it(`shows ${JSON.stringify(sent)} as ${JSON.stringify(shown)}`, () =>
          assert.equal(named(sent as string), shown));
      }
    });
  }

  for (const unusable of [null, '', '   ', '..', '....', '/', '../', './..', 'C:\\', '\u202e\0', '\t', '\u3164']) {
    it(`is made up for ${JSON.stringify(unusable)}`, () => assert.equal(named(unusable), 'attachment-2.1.pdf'));
  }

  it('is made up without extension for a type that has none', () => {
    assert.equal(documentFileName(null, '3', 'application/octet-stream'), 'attachment-3');
  });

  it('is cut to 255 bytes at a whole character, keeping the extension', () => {
    for (const [stem, bytes] of [
      ['x'.repeat(10_000), 255],
      ['ü'.repeat(5_000), 254],
      ['😀'.repeat(2_000), 252],
    ] as const) {
      const name = named(`${stem}.pdf`);
      assert.equal(Buffer.byteLength(name), bytes);
      assert.ok(name.endsWith('.pdf') && name.isWellFormed());
    }
  });

  it('keeps both extensions of a long tar.gz', () => {
    assert.equal(named(`${'x'.repeat(300)}.tar.gz`), `${'x'.repeat(248)}.tar.gz`);
  });

  it('has 255 bytes, of however many marks its letters are composed', () => {
    assert.equal(named(`${'u\u0308\u0304'.repeat(400)}.pdf`), `${'\u01d6'.repeat(125)}.pdf`);
  });

  it('takes no endless extension for one', () => {
    assert.equal(named(`a.${'x'.repeat(10_000)}`), `a.${'x'.repeat(253)}`);
  });

  it('does not end with a blank or a dot where it is cut', () => {
    assert.equal(named(`${'x'.repeat(254)}. ${'y'.repeat(50)}`), 'x'.repeat(254));
  });

  for (const [kind, hostile, shown] of [
    ['combining marks', `a${'\u0344\u0327'.repeat(131_072)}.pdf`, /^\u00e4\u0327+\p{M}+\.pdf$/u],
    ['tabs', `a${'\t'.repeat(262_144)}b.pdf`, /^a b\.pdf$/],
    ['tabs and blanks', `a${' \t'.repeat(131_072)}b.pdf`, /^a b\.pdf$/],
    ['dots and blanks', `a${'. '.repeat(131_072)}b.pdf`, /^a[. ]+\.pdf$/],
    ['separators', `${'/'.repeat(262_144)}b.pdf`, /^b\.pdf$/],
    ['parent segments', `a${'/..'.repeat(87_381)}/b.pdf`, /^b\.pdf$/],
    ['joiners', `ü${'\u200c\u200d'.repeat(131_072)}ü.pdf`, /^ü\u200cü\.pdf$/],
    ['tildes', `${'~'.repeat(262_144)}.pdf`, /^~+\.pdf$/],
  ] as const) {
    it(`takes no time for 256 KB of ${kind}`, () => {
      const { name, durationMs } = cleanedIn(hostile);
      assert.match(name, shown);
      assert.ok(Buffer.byteLength(name) <= 255);
      assert.ok(durationMs < MAX_MS, `${durationMs} ms`);
    });
  }
});
