import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { DefectCode } from '../mime/index.ts';
import { defectsOfBytes } from './byte-defects.ts';

const kept = (...codes: readonly DefectCode[]) =>
  defectsOfBytes(codes.map((code) => ({ code, message: '' }))).map(({ code }) => code);

test('a document is marked for what says something about its bytes', () => {
  const aboutBytes: readonly DefectCode[] = [
    'base64-junk',
    'base64-after-padding',
    'base64-cut',
    'quoted-printable-malformed',
    'quoted-printable-trailing-space',
    'uuencode-without-begin',
    'transfer-encoding-unknown',
    'encoding-undeclared',
    'multipart-not-closed',
  ];
  assert.deepEqual(kept(...aboutBytes), aboutBytes);
});

test('a document is not marked for what is odd about its header only', () => {
  const aboutHeader: readonly DefectCode[] = [
    'field-repeated',
    'parameter-malformed',
    'file-name-damaged',
    'header-line-malformed',
    'header-late',
    'header-indented',
    'header-continuation-unindented',
    'encoded-word-cut',
    'charset-undeclared',
    'content-type-malformed',
    'multipart-is-file',
  ];
  assert.deepEqual(kept(...aboutHeader), []);
  assert.deepEqual(kept('field-repeated', 'base64-cut', 'parameter-malformed'), ['base64-cut']);
});
