/**
 * Mails as real programs bend them, read the whole way: header by the intake, documents by the worker. Those that people
 * sent in lie beside this repository, our own variants of each kind in testdata/field.
 */
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import { isDeepStrictEqual } from 'node:util';
import { traceMail } from '../../src/mime/mail-record.ts';
import { missing } from '../../src/testing/missing.ts';
import {
  digestOf,
  type ExpectedMail,
  expectedDigest,
  type FieldFolder,
  type FileDigest,
  readFieldFolder,
} from './expectations.ts';
import { intakeHeader, type ReadDocument, type Reading, readAsProduct, workerHeader } from './reading.ts';

const ownFolder = join(import.meta.dirname, '../../testdata/field');
const sharedFolder = join(import.meta.dirname, '../../../shared/field');
const sharedExpectations = join(import.meta.dirname, 'shared-expected.json');

const PIECE_BYTES = [1, 2, 3, 7, 64, 1000];
/** Longer texts are shown by their digest when they are wrong. */
const MAX_SHOWN_BYTES = 500;

describe('our own field mails', () => {
  testFolder(readFieldFolder(ownFolder, join(ownFolder, 'expected.json')));
});

describe('field mails that were sent in', () => {
  if (existsSync(sharedFolder)) testFolder(readFieldFolder(sharedFolder, sharedExpectations));
  else it('are read', (t) => missing(t, 'the field mails', `no folder ${sharedFolder}`));
});

function testFolder({ kinds, files }: FieldFolder): void {
  for (const { title, mails } of kinds) {
    describe(title, () => {
      for (const { name, bytes, expected } of mails) {
        const received = withCrlf(bytes);
        it(about(name, expected), async (t) => {
          await testReading(t, { name, received, expected, files });
          await testHeader(name, received);
        });
        it(`${name} is read the same however it is cut`, () => {
          testCuts(name, received);
          if (!bytes.equals(received)) testCuts(`${name} with bare LF`, bytes);
        });
      }
    });
  }
}

async function testReading(
  t: TestContext,
  o: { name: string; received: Buffer; expected: ExpectedMail; files: FieldFolder['files'] },
): Promise<void> {
  const wrong = differences(o.expected, await readAsProduct(t, o.received), o.files);
  const told = wrong.map(
    ({ key, expected, actual }) => `${o.name}: ${key}\n  expected ${expected}\n  actual   ${actual}`,
  );
  assert.ok(wrong.length === 0, told.join('\n'));
}

/** Intake and worker each look for the end of the header; two answers would record one mail and read another. */
async function testHeader(name: string, mail: Buffer): Promise<void> {
  const expected = await workerHeader(mail);
  for (const pieceBytes of [mail.length, 1]) {
    assert.deepEqual(intakeHeader(mail, pieceBytes), expected, `${name}: the header of the intake is another`);
  }
}

function testCuts(name: string, mail: Buffer): void {
  const whole = traceMail(mail, []);
  for (const size of PIECE_BYTES) {
    const cuts = Array.from({ length: Math.floor(mail.length / size) }, (_, i) => (i + 1) * size);
    assert.equal(traceMail(mail, cuts), whole, `${name} in pieces of ${size} bytes`);
  }
}

interface Difference {
  readonly key: string;
  /** As JSON. */
  readonly expected: string;
  readonly actual: string;
}

function differences(expected: ExpectedMail, read: Reading, files: FieldFolder['files']): readonly Difference[] {
  const { about: _, documents, ...others } = expected;
  const wrong: { key: string; expected: unknown; actual: unknown }[] = Object.entries(others)
    .map(([key, value]) => ({ key, expected: value, actual: read[key as keyof typeof others] }))
    .filter((one) => !isDeepStrictEqual(one.expected, one.actual));
  const expectedDigests = documents.map((one) => withDigest(one, expectedDigest(one, files)));
  const actualDigests = read.documents.map((one) => withDigest(one, digestOf(one.bytes)));
  if (!isDeepStrictEqual(expectedDigests, actualDigests)) {
    const actual = read.documents.map((one) => readable(one, files));
    wrong.push({ key: 'documents', expected: documents, actual });
  }
  return wrong.map(({ key, ...values }) => ({
    key,
    expected: JSON.stringify(values.expected),
    actual: JSON.stringify(values.actual),
  }));
}

const withDigest = ({ part, name, type }: Omit<ReadDocument, 'bytes'>, digest: FileDigest): object => ({
  part,
  name,
  type,
  ...digest,
});

/** In the form that expectations have: bytes by the name of a file, as text, or by digest. */
function readable({ bytes, ...document }: ReadDocument, files: FieldFolder['files']): object {
  const digest = digestOf(bytes);
  const file = Object.keys(files).find((known) => files[known]?.sha256 === digest.sha256);
  if (file !== undefined) return { ...document, file };
  const text = bytes.length <= MAX_SHOWN_BYTES ? textOf(bytes) : null;
  return text === null ? { ...document, ...digest } : { ...document, text };
}

/** null: not UTF-8. */
function textOf(bytes: Buffer): string | null {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    return null;
  }
}

function withCrlf(mail: Buffer): Buffer {
  return Buffer.from(mail.toString('latin1').replace(/\r?\n/g, '\r\n'), 'latin1');
}

function about(name: string, expected: ExpectedMail): string {
  return expected.about === undefined ? name : `${name}: ${expected.about}`;
}
