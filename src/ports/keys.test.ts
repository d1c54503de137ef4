import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { documentKey, isObjectKey, isObjectKeyPrefix, rawMailKey } from './keys.ts';

const orgId = '0a1b2c3d-0000-7000-8000-000000000001';
const id = '0a1b2c3d-0000-7000-8000-000000000002';

describe('keys', () => {
  it('a raw mail lies under its organisation and the month it arrived in, by UTC', () => {
    const key = (receivedAt: string) => rawMailKey({ orgId, receivedAt: new Date(receivedAt), inboundMessageId: id });
    assert.equal(key('2026-11-22T10:00:00Z'), `${orgId}/2026/11/${id}.eml`);
    assert.equal(key('2026-12-31T23:59:59.999-01:00'), `${orgId}/2027/01/${id}.eml`);
  });

  it('a document has the extension of its effective type, from a fixed list', () => {
    const key = (mimeType: string) =>
      documentKey({ orgId, receivedAt: new Date('2026-02-01T00:00:00Z'), documentId: id, mimeType });
    for (const [mimeType, extension] of [
      ['application/pdf', '.pdf'],
      ['Application/PDF; name="x.exe"', '.pdf'],
      ['application/vnd.openxmlformats-officedocument.spreadsheetml.sheet', '.xlsx'],
      ['text/csv', '.csv'],
      ['application/zip', '.zip'],
      ['message/rfc822', '.eml'],
      ['application/x-msdownload', '.bin'],
      ['../../etc/passwd', '.bin'],
      ['__proto__', '.bin'],
      ['', '.bin'],
    ] as const) {
      assert.equal(key(mimeType), `${orgId}/2026/02/${id}${extension}`, mimeType);
    }
  });

  it('no id can lead out of its place', () => {
    const receivedAt = new Date(0);
    for (const inboundMessageId of ['../../x', 'a b', 'a\0']) {
      assert.throws(() => rawMailKey({ orgId, receivedAt, inboundMessageId }), TypeError);
    }
    assert.throws(() => rawMailKey({ orgId: '', receivedAt, inboundMessageId: id }), TypeError);
  });

  it('knows what a key is, and what one can begin with', () => {
    for (const key of ['a', 'a/b.c', '...', 'A-Z_0.9']) {
      assert.equal(isObjectKey(key), true, key);
      for (let end = 0; end <= key.length; end++)
        assert.equal(isObjectKeyPrefix(key.slice(0, end)), true, key.slice(0, end));
    }
    for (const key of ['', '.', '..', 'a/', '/a', 'a//b', 'a/../b', 'a b', 'a\n', 'ä', 'a\\b']) {
      assert.equal(isObjectKey(key), false, key);
    }
    for (const prefix of ['/', 'a//', '../', 'a/./b', 'a b', 'ä'])
      assert.equal(isObjectKeyPrefix(prefix), false, prefix);
  });
});
