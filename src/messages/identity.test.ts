import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { contentDigests, type IdentifyingHeader, identify } from './identity.ts';

const CONTENT = 'a'.repeat(64);

function header(over: Partial<IdentifyingHeader['raw']> & { messageId?: string | null } = {}): IdentifyingHeader {
  const { messageId = null, ...raw } = over;
  return {
    messageId,
    raw: { from: 'a@b.example', to: 'c@d.example', subject: 'Order', date: 'Mon, 1 Jan 2026', ...raw },
  };
}

const idOf = (messageId: string): string => identify(header({ messageId }), CONTENT).sourceMessageId;

describe('the identity of a mail: its Message-ID', () => {
  it('is the Message-ID as sent, brackets included', () => {
    assert.deepEqual(identify(header({ messageId: '<1@buyer.example>' }), CONTENT), {
      sourceMessageId: '<1@buyer.example>',
      synthetic: false,
    });
  });

  it('takes the bracketed part of a field with more in it', () => {
    assert.equal(idOf('comment <1@buyer.example> <2@buyer.example>'), '<1@buyer.example>');
  });

  it('takes a Message-ID without brackets as it stands', () => {
    assert.equal(idOf('1@buyer.example'), '1@buyer.example');
  });

  it('ignores white space and control characters inside, which a hop may have put there', () => {
    assert.equal(idOf('<1@\r\n\tbuyer .example\0\u0085>'), '<1@buyer.example>');
  });

  it('keeps case: two ids that differ in case are two ids', () => {
    assert.notEqual(idOf('<A@b>'), idOf('<a@b>'));
  });

  it('replaces an id that is longer than a line by its digest, still telling two apart', () => {
    const long = `<${'x'.repeat(10_000)}@b>`;
    assert.ok(Buffer.byteLength(idOf(long)) < 998);
    assert.equal(idOf(long), idOf(long));
    assert.notEqual(idOf(long), idOf(`<y${long.slice(1)}`));
  });
});

describe('the identity of a mail without Message-ID: a deduplication key of our own', () => {
  it('is made up, says so, and is the same for the same mail', () => {
    const first = identify(header(), CONTENT);
    assert.equal(first.synthetic, true);
    assert.match(first.sourceMessageId, /^<[0-9a-f]{64}@synthetic\.invalid>$/);
    assert.deepEqual(identify(header(), CONTENT), first);
  });

  for (const [what, other] of [
    ['From', header({ from: 'x@b.example' })],
    ['To', header({ to: 'x@d.example' })],
    ['Subject', header({ subject: 'Another' })],
    ['Date', header({ date: 'Tue, 2 Jan 2026' })],
    ['an absent field against an empty one', header({ subject: null })],
    ['text moved from one field to the next', header({ from: 'a@b.examplec', to: '@d.example' })],
  ] as const) {
    it(`differs with ${what}`, () => {
      assert.notEqual(identify(other, CONTENT).sourceMessageId, identify(header(), CONTENT).sourceMessageId);
    });
  }

  it('differs with the content: two orders of one second are two orders', () => {
    assert.notEqual(identify(header(), 'b'.repeat(64)).sourceMessageId, identify(header(), CONTENT).sourceMessageId);
  });

  for (const empty of ['', '   ', '<>', ' < > ', '\0']) {
    it(`is used for a Message-ID of ${JSON.stringify(empty)}`, () => {
      assert.equal(identify(header({ messageId: empty }), CONTENT).synthetic, true);
    });
  }
});

describe('the digests of the content', () => {
  const mail = (fields: string, isPlain = true) =>
    contentDigests({ rawSha256: 'raw', contentSha256: CONTENT, header: { isPlain, contentFieldsSha256: fields } });

  it('are the content alone, and the content with the fields that give it its meaning', () => {
    assert.equal(mail('1').v1, CONTENT);
    assert.notEqual(mail('1').v2, mail('2').v2);
    assert.match(mail('1').v2, /^[0-9a-f]{64}$/);
  });

  it('are the whole mail where it is open to doubt which bytes are content', () => {
    assert.deepEqual(mail('1', false), { v1: 'raw', v2: 'raw' });
  });
});
