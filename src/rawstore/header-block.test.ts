import assert from 'node:assert/strict';
import { randomInt } from 'node:crypto';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { createHeaderBlock } from './header-block.ts';

const MAX_BYTES = 1000;

interface Split {
  readonly header: string;
  readonly content: string;
}

/** The rule, said once more in another way: on the whole mail, line by line. */
function splitWhole(mail: string): Split {
  for (let lineFrom = 0; lineFrom < mail.length; ) {
    const lf = mail.indexOf('\n', lineFrom);
    if (lf === -1) break;
    if (lf === lineFrom || (lf === lineFrom + 1 && mail[lineFrom] === '\r')) {
      return { header: mail.slice(0, lineFrom), content: mail.slice(lf + 1) };
    }
    lineFrom = lf + 1;
  }
  return { header: mail, content: '' };
}

function splitInChunks(chunks: readonly string[], maxBytes = MAX_BYTES): Split & { readonly truncated: boolean } {
  const block = createHeaderBlock({ maxBytes });
  let content = '';
  for (const chunk of chunks) {
    const bytes = Buffer.from(chunk, 'latin1');
    content += bytes.subarray(block.add(bytes)).toString('latin1');
    bytes.fill('#');
  }
  const { headerBlock, headerTruncated } = block.finish();
  return { header: Buffer.from(headerBlock).toString('latin1'), content, truncated: headerTruncated };
}

function cutAt(mail: string, cuts: readonly number[]): string[] {
  const ordered = [0, ...cuts.toSorted((a, b) => a - b), mail.length];
  return ordered.slice(1).map((to, i) => mail.slice(ordered[i], to));
}

const VECTORS: readonly (readonly [title: string, header: string, emptyLine: string, content: string])[] = [
  ['CRLF throughout', 'A: b\r\nC: d\r\n', '\r\n', 'body\r\n\r\nmore\r\n'],
  ['bare LF throughout', 'A: b\nC: d\n', '\n', 'body\n\nmore\n'],
  ['LF and then CRLF', 'A: b\n', '\r\n', 'body\n\n'],
  ['CRLF and then LF', 'A: b\r\n', '\n', 'body\r\n\r\n'],
  ['an empty first line, CRLF', '', '\r\n', 'A: b\r\n\r\nbody'],
  ['an empty first line, LF', '', '\n', 'A: b\n\nbody'],
  ['no empty line at all', 'A: b\r\nC: d\r\n', '', ''],
  ['no line end at all', 'A: b', '', ''],
  ['an empty mail', '', '', ''],
  ['an empty body', 'A: b\r\n', '\r\n', ''],
  ['a line of one CR is not empty', 'A: b\r\n\r\r\nC: d\r\n', '\r\n', 'body'],
  ['bare CR ends no line', 'A: b\r\rC: d\r\n', '\r\n', 'body'],
  ['a line of a space is not empty', 'A: b\r\n \r\n', '\r\n', 'body'],
  ['a CR at the very end', 'A: b\r\n\r', '', ''],
  ['a mail of one CR', '\r', '', ''],
  ['NUL and 8-bit bytes', 'A: \0\xff\r\n', '\r\n', '\0\n\n\xfe'],
];

describe('the end of the header block', () => {
  for (const [title, header, emptyLine, content] of VECTORS) {
    it(`is found whatever the chunks: ${title}`, () => {
      const mail = header + emptyLine + content;
      const expected = { header, content, truncated: false };
      assert.deepEqual({ ...splitWhole(mail), truncated: false }, expected, 'the rule itself');
      assert.deepEqual(splitInChunks([mail]), expected, 'whole');
      assert.deepEqual(splitInChunks([...mail]), expected, 'byte by byte');
      for (let at = 0; at <= mail.length; at++)
        assert.deepEqual(splitInChunks(cutAt(mail, [at])), expected, `cut at ${at}`);
      for (let i = 0; i < 50; i++) {
        const cuts = [0, 1, 2].map(() => randomInt(mail.length + 1));
        assert.deepEqual(splitInChunks(cutAt(mail, cuts)), expected, `cut at ${cuts}`);
      }
    });
  }

  it('agrees with the rule on any bytes cut anywhere', () => {
    const byte = fc.oneof(
      { weight: 3, arbitrary: fc.constantFrom('\r', '\n') },
      { weight: 1, arbitrary: fc.constantFrom('a', '\0', '\xff') },
    );
    const mails = fc.array(byte, { maxLength: 40 }).map((bytes) => bytes.join(''));
    const cuts = fc.array(fc.nat(40), { maxLength: 10 });
    fc.assert(
      fc.property(mails, cuts, (mail, at) => {
        const inside = at.map((each) => Math.min(each, mail.length));
        assert.deepEqual(splitInChunks(cutAt(mail, inside)), { ...splitWhole(mail), truncated: false });
      }),
      { numRuns: 3000 },
    );
  });

  for (const overBytes of [-1, 0, 1, 2, 500]) {
    it(`keeps at most the bound of a header ${overBytes} bytes over it`, () => {
      const header = `${'x'.repeat(MAX_BYTES + overBytes - 2)}\r\n`;
      for (const emptyLine of ['\r\n', '\n']) {
        const mail = `${header}${emptyLine}body\n\n`;
        for (const chunks of [[mail], [...mail], cutAt(mail, [MAX_BYTES]), cutAt(mail, [header.length + 1])]) {
          const split = splitInChunks(chunks);
          assert.equal(split.header, header.slice(0, MAX_BYTES));
          assert.equal(split.truncated, overBytes > 0);
          assert.equal(split.content, 'body\n\n');
        }
      }
    });
  }
});
