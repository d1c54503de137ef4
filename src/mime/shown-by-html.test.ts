import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import iconv from 'iconv-lite';
import type { PartBegin } from './index.ts';
import { createShownByHtml, type ShownByHtml } from './shown-by-html.ts';

type Header = Partial<PartBegin['header']>;

function partOf(path: string, header: Header, enclosing: readonly string[] = ['multipart/mixed']): PartBegin {
  return {
    path,
    parentMediaType: enclosing.at(-1) ?? null,
    enclosing,
    messagePath: '',
    header: {
      mediaType: 'image/png',
      declaredMediaType: 'image/png',
      charset: null,
      disposition: null,
      fileName: null,
      transferEncoding: '7bit',
      contentId: null,
      contentLocation: null,
      ...header,
    },
  };
}

function read(html: string | Buffer, header: Header = {}, sliceBytes = 65_536): ShownByHtml {
  const shown = createShownByHtml();
  shown.observe({ type: 'part-begin', part: partOf('1', { mediaType: 'text/html', ...header }) });
  const bytes = Buffer.from(html as string);
  for (let i = 0; i < bytes.length; i += sliceBytes) {
    // The bytes belong to the engine: it writes over them.
    const piece = Buffer.from(bytes.subarray(i, i + sliceBytes));
    shown.observe({ type: 'part-data', path: '1', bytes: piece });
    piece.fill(0x2d);
  }
  shown.observe({ type: 'part-end', path: '1', defects: [], sizeBytes: bytes.length });
  return shown;
}

const sizes = [1, 2, 7, 65_536];

function shows(html: string | Buffer, image: Header, header: Header = {}): boolean {
  const answers = sizes.map((size) => read(html, header, size).shows(partOf('2', image)));
  assert.equal(new Set(answers).size, 1, `another answer when cut: ${answers}`);
  return answers[0] as boolean;
}

const byId = (contentId: string): Header => ({ contentId });
const byLocation = (contentLocation: string): Header => ({ contentLocation });

describe('HTML shows', () => {
  for (const [html, contentId] of [
    ['<img src="cid:l1@x">', 'l1@x'],
    ["<img src='cid:l1@x'>", 'l1@x'],
    ['<img src=cid:l1@x>', 'l1@x'],
    ['<img src=cid:1__=4EBB>', '1__=4EBB'],
    ['<IMG SRC = "CID:L1@X" >', 'l1@x'],
    ['<img\r\n  width=1\r\n  src="cid:l1@x"/>', 'l1@x'],
    ['<img alt="a > b" src="cid:l1@x">', 'l1@x'],
    ['<img src=" cid:l1@x ">', 'l1@x'],
    ['<img src="cid:l1\r\n @x">', 'l1@x'],
    ['<img src="cid:image(1).png@01DA">', 'image(1).png@01DA'],
    ['<img src="cid:my logo">', 'my logo'],
    ['<img src="cid:my%20logo">', 'my logo'],
    ['<img src="cid:my logo">', 'my%20logo'],
    ['<img src="cid:50%25@x">', '50%@x'],
    ['<img src="cid:50%25@x">', '50%25@x'],
    ['<img src="cid:l1&#64;x">', 'l1@x'],
    ['<img src="cid:l1&#x40;x">', 'l1@x'],
    ['<img src="cid:l1&#0064x">', 'l1@x'],
    ['<img src="cid:l1&commat;x">', 'l1@x'],
    ['<img src="cid&colon;l1@x">', 'l1@x'],
    ['<img src="cid:a&amp;b@x">', 'a&b@x'],
    ['<img src="cid:a&b@x">', 'a&b@x'],
    ['<img src="cid:&lt;l1@x&gt;">', 'l1@x'],
    ['<img src="cid:cid:5a1e@x">', 'cid:5a1e@x'],
    ['<img src="cid:cid:5a1e@x">', '5a1e@x'],
    ['<img src="cid:5a1e@x">', 'cid:5a1e@x'],
    ['<img src="image001.png">', 'image001.png'],
    ['<img src="cid:gr%C3%B6%C3%9Fe@x">', 'größe@x'],
    ['<img src="cid:größe@x">', 'größe@x'],
    ['<table background="cid:bg@x">', 'bg@x'],
    ['<td style="background-image: url(cid:bg@x)">', 'bg@x'],
    ['<td style=\'background:url( "cid:image(1).png@01DA" ) no-repeat\'>', 'image(1).png@01DA'],
    ['<td style="background:url(&quot;cid:bg@x&quot;)">', 'bg@x'],
    ['<style>td > p { color: red } .a { background: URL(cid:bg@x) }</style>', 'bg@x'],
    ["<style><!-- .a { background: url('cid:bg@x') } --></STYLE >", 'bg@x'],
    ['<style>.a { background: url(cid:bg@x) }', 'bg@x'],
    ['<img srcset="cid:a@x 1x, cid:b@x 2x">', 'b@x'],
    ['<video poster="cid:p@x">', 'p@x'],
    ['<object type="image/png" data="cid:o@x">', 'o@x'],
    ['<input type=image src="cid:i@x">', 'i@x'],
    ['<svg><image xlink:href="cid:s@x"/></svg>', 's@x'],
    ['<!--[if gte vml 1]><v:imagedata src="cid:v@x" o:title="a"/><![endif]-->', 'v@x'],
    ['<!-- [if mso]><v:fill type="frame" src="cid:v@x" /><![endif]-->', 'v@x'],
    ['<![if !vml]><img src="cid:v@x"><![endif]>', 'v@x'],
    ['<!--[if !mso]><!--><img src="cid:v@x"><!--<![endif]-->', 'v@x'],
    ['<!-- a comment -- with dashes --><img src="cid:l1@x">', 'l1@x'],
    ['<!--><img src="cid:l1@x">', 'l1@x'],
    ['<!----><img src="cid:l1@x">', 'l1@x'],
    ['5 < 6 <3 <<img src="cid:l1@x">', 'l1@x'],
    ['<script>if (a<b) document.write("<style>")</script><img src="cid:l1@x">', 'l1@x'],
    ['<p title="it\'s" class=\'a"b\'><img src="cid:l1@x">', 'l1@x'],
    ['<img src="cid:l1@x>\r\n<p class="a">', 'l1@x'],
    ['<img src="cid:l1@x', 'l1@x'],
    ['<a href="cid:l1@x">', 'l1@x'],
  ] as const) {
    test(`${html} ⇒ <${contentId}>`, () => assert.equal(shows(html, byId(contentId)), true));
  }

  for (const [html, location] of [
    ['<img src="http://shop.example.com/logo.png">', 'http://shop.example.com/logo.png'],
    ['<img src="http://shop.example.com/my%20logo.png">', 'http://shop.example.com/my logo.png'],
    ['<img src="logo.png">', 'logo.png'],
    ['<img src="a.gif?x=1&amp;y=2">', 'a.gif?x=1&y=2'],
    ['<body background=logo.png>', 'logo.png'],
    ['<td style="background:url(img/logo.png)">', 'img/logo.png'],
    ['<img srcset="s.png 480w, l.png 2x">', 'l.png'],
    ['<img src="cid:l1@x">', 'cid:l1@x'],
    ['<img src="logo.png">', 'thismessage:/logo.png'],
    ['<base href="http://shop.example.com/a/"><img src="../logo.png">', 'http://shop.example.com/logo.png'],
  ] as const) {
    test(`${html} ⇒ ${location}`, () => assert.equal(shows(html, byLocation(location)), true));
  }

  test('what lies relative to the Content-Location of the HTML', () => {
    const header = byLocation('http://shop.example.com/mail/index.html');
    assert.equal(
      shows('<img src="img/logo.png">', byLocation('http://shop.example.com/mail/img/logo.png'), header),
      true,
    );
    assert.equal(shows('<img src="img/logo.png">', byLocation('http://shop.example.com/img/logo.png'), header), false);
  });
});

describe('HTML does not show', () => {
  for (const [html, image] of [
    ['<p>cid:l1@x</p>', byId('l1@x')],
    ['<p>[cid:l1@x]</p>', byId('l1@x')],
    ['<p>see drawing.png</p>', byLocation('drawing.png')],
    ['<p>see drawing.png</p>', byId('drawing.png')],
    ['<p>src="drawing.png"</p>', byId('drawing.png')],
    ['<a href="drawing.png">', byId('drawing.png')],
    ['<a href="http://shop.example.com/order.jpg">', byLocation('http://shop.example.com/order.jpg')],
    ['<a xlink:href="drawing.png">', byId('drawing.png')],
    ['<img alt="drawing.png" title="drawing.png" src="cid:l1@x">', byId('drawing.png')],
    ['<td data="drawing.png">', byId('drawing.png')],
    ['<!-- <img src="cid:l1@x"> -->', byId('l1@x')],
    ['<!-- > <img src="cid:l1@x"> -->', byId('l1@x')],
    ['<script>"<img src=\'cid:l1@x\'>"</script>', byId('l1@x')],
    ['<img src="cid:l1@x.example">', byId('l1@x')],
    ['<img src="cid:l1">', byId('l1@x')],
    ['<img src="http://shop.example.com/logo.png">', byLocation('logo.png')],
    ['<img src="images/logo.png">', byLocation('logo.png')],
    ['<img src="">', { contentId: null, contentLocation: ' ' }],
    ['<img srcset="a.png 2x">', byId('2x')],
    ['<img src="data:image/png;base64,l1@x">', byId('l1@x')],
    ['<td style="content: \'drawing.png\'">', byId('drawing.png')],
    ['', byId('l1@x')],
  ] as const) {
    test(`${html} ⇏ ${image.contentId ?? image.contentLocation}`, () => assert.equal(shows(html, image), false));
  }

  test('a mention in another message', () => {
    const shown = read('<img src="cid:l1@x">');
    assert.equal(shown.shows({ ...partOf('3.m.2', byId('l1@x')), messagePath: '3.m' }), false);
  });

  test('a mention in text that is no HTML', () => {
    assert.equal(shows('<img src="cid:l1@x">', byId('l1@x'), { mediaType: 'text/plain' }), false);
  });
});

describe('HTML in its charset', () => {
  const html = '<p>注文</p><img src="cid:l1@x"><p>&</p>';
  const utf16 = iconv.encode(html, 'utf-16le');
  const swapped = iconv.encode(html, 'utf-16be');
  const mark = (bytes: string, rest: Buffer) => Buffer.concat([Buffer.from(bytes, 'hex'), rest]);
  // Between the escapes stand two characters of two bytes each, which would open a comment if they were ASCII.
  const jis = Buffer.from('<p>\x1b$B<!--\x1b(B</p><img src="cid:l1@x">', 'latin1');
  for (const [title, bytes, charset] of [
    ['UTF-8', Buffer.from(html), 'utf-8'],
    ['UTF-8 with a byte order mark', mark('efbbbf', Buffer.from(html)), 'UTF-8'],
    ['UTF-16 with a mark', mark('fffe', utf16), 'utf-16'],
    ['UTF-16 with the other mark', mark('feff', swapped), 'utf-16'],
    ['UTF-16 without a mark', utf16, 'utf-16'],
    ['UTF-16LE', utf16, 'UTF-16LE'],
    ['UTF-16BE', swapped, '"utf-16be"'],
    ['UTF-16 that Outlook calls unicode', mark('fffe', utf16), 'unicode'],
    ['UTF-16 with a mark, declared as UTF-8', mark('fffe', utf16), 'utf-8'],
    ['UTF-16 with a mark, not declared', mark('feff', swapped), null],
    ['UTF-16 without a mark, not declared', utf16, null],
    ['UTF-7', iconv.encode(html, 'utf-7'), 'utf-7'],
    ['Shift_JIS', iconv.encode(html, 'cp932'), 'shift_jis'],
    ['GB18030', iconv.encode(html, 'gb18030'), 'gb2312'],
    ['ISO-2022-JP', jis, 'iso-2022-jp'],
    ['an unknown charset', Buffer.from(html), 'x-nothing'],
  ] as const) {
    test(title, () => {
      assert.equal(shows(bytes, byId('l1@x'), { charset }), true);
      assert.equal(shows(bytes, byId('l2@x'), { charset }), false);
    });
  }

  test('a Content-ID that is not ASCII', () => {
    const latin1 = Buffer.from('<img src="cid:größe@x">', 'latin1');
    assert.equal(shows(latin1, byId('größe@x'), { charset: 'iso-8859-1' }), true);
  });
});

describe('bounds', () => {
  test('mentions are bounded in number and length', () => {
    const many = Array.from({ length: 20_000 }, (_, i) => `<img src="cid:n${i}">`).join('');
    const shown = read(`<img src="cid:first@x"><img src="cid:${'l'.repeat(5_000)}">${many}<img src="cid:last@x">`);
    assert.equal(shown.shows(partOf('2', byId('FIRST@x'))), true);
    assert.equal(shown.shows(partOf('2', byId('n9000'))), true);
    assert.equal(shown.shows(partOf('2', byId('l'.repeat(5_000)))), false);
    assert.equal(shown.shows(partOf('2', byId('last@x'))), false);
  });

  test('one image that is shown 20,000 times counts once', () => {
    const shown = read(`${'<img src="cid:spacer@x">'.repeat(20_000)}<img src="cid:last@x">`);
    assert.equal(shown.shows(partOf('2', byId('last@x'))), true);
  });

  test('a value of a megabyte hides nothing behind it', () => {
    const long = 'A'.repeat(1_000_000);
    assert.equal(
      read(`<img src="data:image/png;base64,${long}"><img src="cid:l1@x">`).shows(partOf('2', byId('l1@x'))),
      true,
    );
    assert.equal(read(`<${long} ${long}=1><img src="cid:l1@x">`).shows(partOf('2', byId('l1@x'))), true);
  });

  const longText = 'Preisliste '.repeat(30_000);

  for (const [title, html, expected] of [
    ['behind more text than is held until someone asks', `<p>${longText}<img src="cid:l1@x">`, true],
    ['before that text', `<img src="cid:l1@x"><p>${longText}`, true],
    ['across the place where what is held ends', `${' '.repeat(131_070)}<img src="cid:l1@x">`, true],
    ['nowhere in it', `<p>${longText}<img src="cid:l2@x">`, false],
  ] as const) {
    test(`a mention stands ${title}`, () => assert.equal(shows(html, byId('l1@x')), expected));
  }

  test('asking in the middle of HTML changes nothing later', () => {
    const shown = createShownByHtml();
    const image = partOf('2', byId('l1@x'));
    shown.observe({ type: 'part-begin', part: partOf('1', { mediaType: 'text/html' }) });
    const give = (text: string): void => shown.observe({ type: 'part-data', path: '1', bytes: Buffer.from(text) });
    give('<p>Our order:<img src="ci');
    assert.equal(shown.shows(image), false);
    give('d:l1@x">');
    assert.equal(shown.shows(image), true);
    shown.observe({ type: 'part-end', path: '1', defects: [], sizeBytes: 33 });
    assert.equal(shown.shows(image), true);
  });

  test('HTML in several parts counts, asked for in between', () => {
    const shown = createShownByHtml();
    for (const [path, html] of [
      ['1', '<img src="cid:l1@x">'],
      ['3', '<img src="cid:l3@x">'],
    ] as const) {
      shown.observe({ type: 'part-begin', part: partOf(path, { mediaType: 'text/html' }) });
      shown.observe({ type: 'part-data', path, bytes: Buffer.from(html) });
      shown.observe({ type: 'part-end', path, defects: [], sizeBytes: html.length });
      assert.equal(shown.shows(partOf('2', byId('l1@x'))), true);
    }
    assert.equal(shown.shows(partOf('4', byId('l3@x'))), true);
    assert.equal(shown.shows(partOf('5', byId('l2@x'))), false);
  });

  for (const [title, piece] of [
    ['angle brackets', '<'],
    ['tags that do not end', '<a '],
    ['comments that do not end', '<!-- -'],
    ['attributes that do not end', '<a b="c'],
    ['attributes', ' a=b'],
    ['url( that does not end', '<style>url('],
    ['url( with quotes that do not end', `<a style="url('`],
    ['style that does not end', '<style></styl'],
    ['ampersands', '<img src="&#&a&&">'],
    ['percent signs', '<img src="%4%%">'],
    ['mentions', '<img src="cid:a">'],
    ['source sets', `<img srcset="${'a '.repeat(10_000)}">`],
  ] as const) {
    test(`time is linear: ${title}`, () => {
      const time = (size: number): number => {
        const html = piece.repeat(size / piece.length);
        const start = process.cpuUsage();
        read(html, byLocation('http://shop.example.com/')).shows(partOf('2', byId('l1@x')));
        const { user, system } = process.cpuUsage(start);
        return (user + system) / 1_000;
      };
      time(200_000);
      const small = time(500_000);
      // Eight times the size may take eight times as long; quadratic time would be 64 times.
      const large = time(4_000_000);
      assert.ok(large < 24 * small + 300, `${small} ms, then ${large} ms`);
    });
  }
});
