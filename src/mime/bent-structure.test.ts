/** Boundaries that are missing, wrong or never appear, headers behind stray lines, files cut off: each with its controls. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { createMimeParser, type MailEvent } from './index.ts';
import { traceMail } from './mail-record.ts';
import { maxOpeningBytes } from './multipart-opening.ts';

interface Leaf {
  readonly path: string;
  readonly type: string;
  readonly text: string;
}

interface Reading {
  readonly leaves: readonly string[];
  readonly defects: readonly string[];
  /** Multiparts that ended, by path, and whether they were blank. */
  readonly blank: readonly (readonly [string, boolean])[];
}

/** A leaf as `path type: text`; defects as `code@path`, those of the mail's own header without a path. */
function read(lines: readonly string[] | string): Reading {
  const mail = Buffer.from(typeof lines === 'string' ? lines : lines.join('\r\n'), 'latin1');
  const leaves = new Map<string, Leaf>();
  const defects: string[] = [];
  const blank: (readonly [string, boolean])[] = [];
  for (const event of eventsOf(mail)) {
    if (event.type === 'header') defects.push(...event.header.defects.map(({ code }) => code));
    if (event.type === 'part-begin') {
      const { path, header } = event.part;
      leaves.set(path, { path, type: header.mediaType, text: '' });
    }
    if (event.type === 'part-data') {
      const leaf = leaves.get(event.path) as Leaf;
      leaves.set(event.path, { ...leaf, text: leaf.text + Buffer.from(event.bytes).toString('latin1') });
    }
    if (event.type === 'part-end' || event.type === 'multipart-end')
      defects.push(...event.defects.map(({ code }) => `${code}@${event.path}`));
    if (event.type === 'multipart-end') blank.push([event.path, event.blank]);
  }
  const whole = traceMail(mail, []);
  assert.equal(traceMail(mail, mail.keys()), whole, 'byte by byte');
  return { leaves: [...leaves.values()].map(({ path, type, text }) => `${path} ${type}: ${text}`), defects, blank };
}

function eventsOf(mail: Buffer): readonly MailEvent[] {
  const parser = createMimeParser();
  const events = parser.push(mail).map(copyOf);
  return [...events, ...parser.end().map(copyOf)];
}

const copyOf = (event: MailEvent): MailEvent =>
  event.type === 'part-data' ? { ...event, bytes: Uint8Array.from(event.bytes) } : event;

const part = (type: string, ...body: readonly string[]): readonly string[] => [`Content-Type: ${type}`, '', ...body];
const text = part('text/plain', 'hello');
const csv = part('text/csv; name=o.csv', 'a;b');
const both = ['1 text/plain: hello', '2 text/csv: a;b'];

describe('a boundary that is missing or never appears', () => {
  for (const [title, type, lines, leaves, defects] of [
    ['no parameter', 'multipart/mixed', ['--x', ...text, '--x', ...csv, '--x--'], both, ['boundary-guessed@']],
    [
      'another one',
      'multipart/mixed; boundary=y',
      ['--x', ...text, '--x', ...csv, '--x--'],
      both,
      ['boundary-guessed@'],
    ],
    [
      'a text before it, and a first part without a header',
      'multipart/mixed; boundary=y',
      ['This is MIME.', '--x', '', 'hello', '--x', ...csv, '--x--'],
      both,
      ['boundary-guessed@'],
    ],
    [
      'indented',
      'multipart/mixed; boundary=x',
      [' --x', ...text, ' --x', ...csv, ' --x--'],
      both,
      ['delimiter-indented@'],
    ],
    ['no type at all', '; boundary="x"', ['--x', ...text, '--x', ...csv, '--x--'], both, ['multipart-guessed@']],
    ['half a type', 'multipart; boundary="x"', ['--x', ...text, '--x', ...csv, '--x--'], both, ['multipart-guessed@']],
    ['text/plain', 'text/plain; boundary=x', ['--x', ...text, '--x', ...csv, '--x--'], both, ['multipart-guessed@']],
  ] as const) {
    it(`is found: ${title}`, () => {
      const found = read(['From: a@b.example', `Content-Type: ${type}`, '', ...lines, '']);
      assert.deepEqual(found.leaves, leaves);
      assert.deepEqual(
        found.defects.filter((code) => !code.startsWith('content-type-malformed')),
        defects,
      );
    });
  }

  for (const [title, type, lines, leaves] of [
    ['text with a rule of dashes', 'multipart/mixed', ['-----', 'From: x', 'Content: y', ''], []],
    ['a quoted mail', 'multipart/mixed', ['-----Original Message-----', 'From: x', 'Subject: y', '', 'z'], []],
    ['a signature', 'multipart/mixed', ['hello', '-- ', 'Content-free Ltd'], []],
    [
      'text/plain whose boundary stands before no header',
      'text/plain; boundary=x',
      ['--x', 'not a header', '--x--'],
      ['1 text/plain: --x\r\nnot a header\r\n--x--\r\n'],
    ],
    ['text/plain without it', 'text/plain; boundary=x', ['hello'], ['1 text/plain: hello\r\n']],
    [
      'text/plain with delimiters that it does not name',
      'text/plain',
      ['--x', ...csv, '--x--'],
      ['1 text/plain: --x\r\nContent-Type: text/csv; name=o.csv\r\n\r\na;b\r\n--x--\r\n'],
    ],
  ] as const) {
    it(`is not made up: ${title}`, () => {
      const found = read(['From: a@b.example', `Content-Type: ${type}`, '', ...lines, '']);
      assert.deepEqual(found.leaves, leaves);
      assert.ok(found.defects.every((code) => !/guessed|indented/.test(code)));
    });
  }

  it('is not guessed where the declared one appears', () => {
    const found = read(['Content-Type: multipart/mixed; boundary=y', '', '--x', ...text, '--y', ...csv, '--y--', '']);
    assert.deepEqual(found.leaves, ['1 text/csv: a;b']);
    assert.deepEqual(found.defects, []);
  });

  it('is looked for no further than the bound, wherever the mail is cut', () => {
    for (const over of [-40, -8, -5, -4, -3, -1, 0, 1, 2, 40]) {
      const head = 'Content-Type: multipart/x-zip; name=a.zip; boundary=bound\r\n\r\n';
      const filler = `${'x'.repeat(maxOpeningBytes + over - 2)}\r\n`;
      const mail = Buffer.from(`${head}${filler}--bound\r\n${text.join('\r\n')}\r\n--bound--\r\n`);
      const at = head.length + maxOpeningBytes;
      const whole = traceMail(mail, []);
      assert.equal(whole.includes('multipart-begin'), over <= 0, `${over} bytes over`);
      for (let cut = at - 60; cut < at + 60; cut++)
        assert.equal(traceMail(mail, [cut]), whole, `${over}, cut at ${cut}`);
    }
  });

  it('is that of the Content-Type that appears, of two', () => {
    const types = ['Content-Type: multipart/mixed; boundary=x', 'Content-Type: multipart/alternative; boundary=y'];
    for (const [used, type] of [
      ['x', 'multipart/mixed'],
      ['y', 'multipart/alternative'],
    ] as const) {
      for (const order of [types, types.toReversed()]) {
        const lines = ['From: a@b.example', ...order, '', `--${used}`, ...text, `--${used}`, ...csv, `--${used}--`, ''];
        const found = read(lines);
        assert.deepEqual(found.leaves, both);
        assert.deepEqual(found.defects, ['field-repeated@']);
        const begin = eventsOf(Buffer.from(lines.join('\r\n'))).find((event) => event.type === 'multipart-begin');
        assert.equal(begin?.header.mediaType, type);
      }
    }
  });

  it('of two Content-Types without a boundary that appears, the other one counts', () => {
    const types = ['Content-Type: multipart/mixed; boundary=x', 'Content-Type: text/csv; name=o.csv'];
    for (const order of [types, types.toReversed()]) {
      const found = read(['From: a@b.example', ...order, '', 'a;b', '']);
      assert.deepEqual(found.leaves, ['1 text/csv: a;b\r\n']);
    }
  });
});

describe('a multipart that is a file', () => {
  for (const [title, lines, leaves] of [
    [
      'a name and no boundary',
      ['Content-Type: multipart/x-zip; name=a.zip', 'Content-Transfer-Encoding: base64', '', 'UEsFBg=='],
      ['1 application/octet-stream: PK\x05\x06'],
    ],
    [
      'a name and a boundary that never appears',
      ['Content-Type: multipart/mixed; boundary=x', 'Content-Disposition: attachment; filename=o.csv', '', 'a;b'],
      ['1 application/octet-stream: a;b'],
    ],
    [
      'an encoding',
      ['Content-Type: multipart/mixed', 'Content-Transfer-Encoding: base64', '', 'QUJD'],
      ['1 application/octet-stream: ABC'],
    ],
  ] as const) {
    it(`by ${title}`, () => {
      const found = read(lines);
      assert.deepEqual(found.leaves, leaves);
      assert.ok(found.defects.includes('multipart-is-file@1'));
    });
  }

  it('but not one whose parts are there', () => {
    const found = read(['Content-Type: multipart/mixed; boundary=x; name=a.zip', '', '--x', ...csv, '--x--', '']);
    assert.deepEqual(found.leaves, ['1 text/csv: a;b']);
    assert.deepEqual(found.defects, []);
  });
});

describe('a header behind lines that are none', () => {
  for (const [title, before] of [
    ['an empty line', ['']],
    ['two empty lines', ['', '']],
    ['a line of blanks', [' \t ']],
    ['the answer of a POP3 server', ['+OK 1234 octets']],
    ['the answer of a web server', ['HTTP/1.1 200 OK']],
    ['the line of a mailbox file', ['From erika@b.example Mon Nov  2 10:00:00 2026']],
    ['the rest of a Received field', ['\tby mx.b.example with ESMTP; Mon, 2 Nov 2026 10:00:00 +0100']],
  ] as const) {
    it(`of the mail: ${title}`, () => {
      const found = read([...before, 'Subject: s', 'Content-Type: text/csv; name=o.csv', '', 'a;b']);
      assert.deepEqual(found.leaves, ['1 text/csv: a;b']);
      assert.deepEqual(found.defects, ['header-late']);
    });
    it(`of a message in the mail: ${title}`, () => {
      const found = read([
        'Content-Type: message/rfc822',
        '',
        ...before,
        'Subject: s',
        'Content-Type: text/csv',
        '',
        'a;b',
      ]);
      assert.deepEqual(found.leaves.at(-1), '1.m text/csv: a;b');
      assert.deepEqual(found.defects, ['header-late@1.m']);
    });
  }

  for (const before of ['', ' ', 'junk', '\tjunk']) {
    it(`of a part: ${JSON.stringify(before)}`, () => {
      const found = read(['Content-Type: multipart/mixed; boundary=x', '', '--x', before, ...csv, '--x--']);
      assert.deepEqual(found.leaves, ['1 text/csv: a;b']);
      assert.deepEqual(found.defects, ['header-late@1']);
    });
  }

  it('whose fields are indented', () => {
    const head = [' Content-Type: text/csv;', '   name=o.csv', ' Content-Transfer-Encoding: base64'];
    const found = read(['Content-Type: multipart/mixed; boundary=x', '', '--x', ...head, '', 'YTti', '--x--']);
    assert.deepEqual(found.leaves, ['1 text/csv: a;b']);
    assert.deepEqual(found.defects, ['header-indented@1']);
  });

  for (const [title, lines, leaves] of [
    [
      'a body that begins like a field',
      ['', 'Order: 4711', 'Pieces: 5', '', 'Bye'],
      ['1 text/plain: Order: 4711\r\nPieces: 5\r\n\r\nBye'],
    ],
    ['fields behind an empty line of text', ['', 'Hello', '', 'Subject: x'], ['1 text/plain: Hello\r\n\r\nSubject: x']],
    [
      'a part without a header that quotes a mail',
      ['Content-Type: multipart/mixed; boundary=x', '', '--x', '', 'From: x', 'Subject: y', '--x--'],
      ['1 text/plain: From: x\r\nSubject: y'],
    ],
    [
      'a digest, whose parts begin with an empty line',
      ['Content-Type: multipart/digest; boundary=x', '', '--x', '', 'Subject: y', '', 'z', '--x--'],
      ['1 message/rfc822: Subject: y\r\n\r\nz', '1.m text/plain: z'],
    ],
  ] as const) {
    it(`is not made up: ${title}`, () => {
      const found = read(lines);
      assert.deepEqual(found.leaves, leaves);
      assert.deepEqual(found.defects, []);
    });
  }
});

describe('a line that is no field, right before the empty line', () => {
  const withJunk = (head: readonly string[], junk: readonly string[], body: string) =>
    read(['Content-Type: multipart/mixed; boundary=x', '', '--x', ...head, ...junk, '', body, '--x--']);

  it('does not spoil base64', () => {
    const found = withJunk(
      ['Content-Type: application/pdf', 'Content-Transfer-Encoding: base64'],
      ['checked by x'],
      'QUJD',
    );
    assert.deepEqual(found.leaves, ['1 application/pdf: ABC']);
    assert.deepEqual(found.defects, ['header-line-malformed@1']);
  });
  it('does not spoil base64 with a single word', () => {
    const head = ['Content-Type: application/pdf', 'Content-Transfer-Encoding: base64'];
    assert.deepEqual(withJunk(head, ['scanned'], 'QUJD').leaves, ['1 application/pdf: ABC']);
    assert.deepEqual(withJunk(head, ['Document'], 'QUJD').leaves, ['1 application/pdf: ABC']);
  });
  it('does not begin a file', () => {
    const found = withJunk(['Content-Disposition: attachment; filename=o.csv'], ['checked by x'], 'a;b');
    assert.deepEqual(found.leaves, ['1 text/plain: a;b']);
  });
  it('is text where the empty line is missing', () => {
    const found = withJunk(['Content-Type: text/plain'], ['Hello'], 'Bye');
    assert.deepEqual(found.leaves, ['1 text/plain: Hello\r\n\r\nBye']);
  });
  it('is base64 where the empty line is missing', () => {
    const found = withJunk(
      ['Content-Transfer-Encoding: base64', 'Content-Type: application/pdf'],
      ['QUJDQUJDQUJDQUJD'],
      'REVG',
    );
    assert.deepEqual(found.leaves, ['1 application/pdf: ABCABCABCABCDEF']);
  });
});

describe('an encoding that is not what it says', () => {
  const pdf = '%PDF-1.4\n1 0 obj\n';
  const base64 = Buffer.from(pdf.repeat(3)).toString('base64');

  it('is inherited from the multipart where the part says nothing and is base64', () => {
    const head = ['Content-Type: multipart/mixed; boundary=x', 'Content-Transfer-Encoding: base64', ''];
    const found = read([...head, '--x', ...text, '--x', ...part('application/pdf', base64), '--x--']);
    assert.deepEqual(found.leaves, ['1 text/plain: hello', `2 application/pdf: ${pdf.repeat(3)}`]);
    assert.deepEqual(found.defects, ['encoding-inherited@2']);
  });
  it('is not inherited by a part that says otherwise, nor by a word of text', () => {
    const head = ['Content-Type: multipart/mixed; boundary=x', 'Content-Transfer-Encoding: base64', ''];
    const said = ['Content-Transfer-Encoding: 7bit', ...part('text/x-a', base64)];
    const found = read([...head, '--x', ...said, '--x', ...part('text/plain', 'Bestellungen'), '--x--']);
    assert.deepEqual(found.leaves, [`1 text/x-a: ${base64}`, '2 text/plain: Bestellungen']);
    assert.deepEqual(found.defects, []);
  });
  for (const [title, type, body, read1, codes] of [
    ['a PDF in base64, undeclared', 'application/pdf', base64, pdf.repeat(3), ['encoding-undeclared@1']],
    ['base64 of no known file stays', 'application/x-a', 'QUJDREVGR0hJSktMTU5PUFFSU1RVVldY', null, []],
    ['a PDF in base64 with text behind it stays', 'application/pdf', `${base64}\r\nand so on`, null, []],
  ] as const) {
    it(title, () => {
      const found = read([`Content-Type: ${type}; name=a.pdf`, '', body]);
      assert.deepEqual(found.leaves, [`1 ${type}: ${read1 ?? body}`]);
      assert.deepEqual(found.defects, codes);
    });
  }

  const encoded = (encoding: string, type: string, ...body: readonly string[]) =>
    read([`Content-Transfer-Encoding: ${encoding}`, `Content-Type: ${type}`, '', ...body]);

  it('base64 that is a file as it is', () => {
    assert.deepEqual(encoded('base64', 'text/csv', 'sku;qty', 'A-100;12').leaves, ['1 text/csv: sku;qty\r\nA-100;12']);
    const raw = encoded('base64', 'application/pdf', pdf);
    assert.deepEqual([raw.leaves, raw.defects], [[`1 application/pdf: ${pdf}`], ['encoding-untrue@1']]);
  });
  it('base64 with junk is base64', () => {
    const found = encoded('base64', 'application/pdf', 'aGVs!!bG8=');
    assert.deepEqual([found.leaves, found.defects], [['1 application/pdf: hello'], ['base64-junk@1']]);
  });
  it('a message that says base64 or quoted-printable, and begins with its header', () => {
    for (const encoding of ['base64', 'quoted-printable']) {
      const inner = ['Subject: s', 'Content-Type: multipart/mixed; boundary="y"', '', '--y', ...csv, '--y--', ''];
      const found = encoded(encoding, 'message/rfc822', ...inner);
      assert.deepEqual(found.leaves, [`1 message/rfc822: ${inner.join('\r\n')}`, '1.m.1 text/csv: a;b']);
      assert.deepEqual(found.defects, ['encoding-untrue@1']);
    }
  });
  it('a message that is encoded as it says', () => {
    const inner = 'Subject: s\r\nContent-Type: text/csv\r\n\r\na;b=\r\n';
    const coded = inner.replaceAll('=', '=3D');
    for (const [encoding, body] of [
      ['base64', Buffer.from(inner).toString('base64')],
      ['quoted-printable', coded],
    ] as const) {
      const found = encoded(encoding, 'message/rfc822', body);
      assert.deepEqual(found.leaves, [`1 message/rfc822: ${inner}`, '1.m text/csv: a;b=\r\n']);
      assert.deepEqual(found.defects, []);
    }
  });
  it('base64 behind the prefix of a data: URL', () => {
    const found = encoded('base64', 'application/pdf', 'data:application/pdf;base64,QUJD');
    assert.deepEqual([found.leaves, found.defects], [['1 application/pdf: ABC'], ['base64-data-url@1']]);
  });
});

describe('delimiters in base64', () => {
  const head = ['Content-Type: multipart/mixed; boundary=x', ''];
  const coded = (body: string): readonly string[] => [
    'Content-Transfer-Encoding: base64',
    'Content-Type: a/b',
    '',
    body,
  ];

  it('at the end of a line', () => {
    const found = read([...head, '--x', ...coded('QUJD--x'), ...coded('REVG--x--'), '']);
    assert.deepEqual(found.leaves, ['1 a/b: ABC', '2 a/b: DEF']);
    assert.deepEqual(found.defects, ['delimiter-glued@1', 'delimiter-glued@2']);
  });
  it('before text', () => {
    const found = read([...head, '--x', ...coded('QUJD'), '--x--checked by a gateway', '']);
    assert.deepEqual(found.leaves, ['1 a/b: ABC']);
    assert.deepEqual(found.defects, ['delimiter-glued@1']);
  });
  it('but not in text', () => {
    const found = read([...head, '--x', ...part('text/csv', 'a;b--x', '--x--more'), '--x--', '']);
    assert.deepEqual(found.leaves, ['1 text/csv: a;b--x\r\n--x--more']);
    assert.deepEqual(found.defects, []);
  });
});

describe('a mail that ends too early', () => {
  it('says so of every part that was open', () => {
    const inner = ['Subject: s', 'Content-Type: multipart/mixed; boundary=y', '', '--y', ...csv];
    const found = read([
      'Content-Type: multipart/mixed; boundary=x',
      '',
      '--x',
      ...text,
      '--x',
      ...part('message/rfc822', ...inner),
    ]);
    assert.deepEqual(
      found.defects.filter((code) => code.startsWith('multipart-not-closed')),
      ['multipart-not-closed@2.m.1', 'multipart-not-closed@2.m', 'multipart-not-closed@2', 'multipart-not-closed@'],
    );
  });
  it('but not of the parts around one that was cut', () => {
    const inner = ['Subject: s', 'Content-Type: multipart/mixed; boundary=y', '', '--y', ...csv];
    const found = read([
      'Content-Type: multipart/mixed; boundary=x',
      '',
      '--x',
      ...part('message/rfc822', ...inner),
      '--x--',
      '',
    ]);
    assert.deepEqual(found.defects, ['multipart-not-closed@1.m.1', 'multipart-not-closed@1.m']);
  });
});

describe('a multipart without a part', () => {
  for (const [title, body, blank] of [
    ['nothing', '', true],
    ['white space', ' \r\n\t\r\n', true],
    ['its closing delimiter', '\r\n--x--\r\n', true],
    ['text', 'hello', false],
    ['text behind much white space', `${' \r\n'.repeat(40_000)}hello`, false],
    ['text before its closing delimiter', 'hello\r\n--x--', false],
  ] as const) {
    it(`is ${blank ? '' : 'not '}blank with ${title}`, () => {
      const mail = `Content-Type: multipart/mixed; boundary=x\r\n\r\n${body}`;
      const ends = eventsOf(Buffer.from(mail)).filter((event) => event.type === 'multipart-end');
      assert.deepEqual(
        ends.map((event) => event.blank),
        [blank],
      );
    });
  }
});
