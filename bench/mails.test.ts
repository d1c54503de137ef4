import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseMail } from '../src/mime/index.ts';
import { mailTemplate } from './mails.ts';

async function* once(bytes: Buffer): AsyncGenerator<Buffer> {
  yield bytes;
}

const whole = (sizeBytes: number, serial = 1): Buffer => {
  const template = mailTemplate(sizeBytes);
  return Buffer.concat([Buffer.from(template.head('run', serial)), template.rest]);
};

for (const [sizeBytes, attachments] of [
  [1_501, 1],
  [10_000, 1],
  [100_000, 1],
  [1_000_000, 1],
  [10_000_000, 10],
] as const) {
  test(`a mail of ${sizeBytes} bytes is that long, needs no dot-stuffing and carries ${attachments} PDF`, async () => {
    const mail = whole(sizeBytes);
    assert.equal(mail.length, sizeBytes);
    assert.equal(mailTemplate(sizeBytes).attachments, attachments);
    const text = mail.toString('latin1');
    assert.ok(text.endsWith('\r\n') && !text.includes('\r\n.') && !/[^\r]\n|\r[^\n]/.test(text));
    assert.ok(text.split('\r\n').every((line) => line.length <= 998));
    const names: (string | null)[] = [];
    for await (const event of parseMail(once(mail))) {
      if (event.type === 'part-begin' && event.part.header.fileName !== null) names.push(event.part.header.fileName);
      if (event.type === 'part-end') assert.deepEqual(event.defects, []);
    }
    assert.equal(names.length, attachments);
  });
}

test('every mail has its own Message-ID, and all are of one length', () => {
  const template = mailTemplate(10_000);
  const heads = [template.head('run', 1), template.head('run', 2), template.head('other', 1_234_567)];
  assert.equal(new Set(heads).size, 3);
  assert.equal(new Set(heads.map((head) => head.length)).size, 1);
});

test('a size without room for a mail is an error', () => {
  assert.throws(() => mailTemplate(300), RangeError);
});
