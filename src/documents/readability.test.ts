import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createMimeParser, type MailEvent } from '../mime/index.ts';
import { createReadability } from './readability.ts';

/** Of the events that the engine has for a mail, changed where a test wants them to be. */
function failureOf(mail: string, change: (event: MailEvent) => MailEvent = (event) => event): string | null {
  const parser = createMimeParser();
  const readability = createReadability();
  for (const event of [...parser.push(Buffer.from(mail)), ...parser.end()]) readability.observe(change(event));
  const failure = readability.failure();
  assert.ok(failure === null || failure.code === 'no-part-readable');
  return failure?.message ?? null;
}

const blank =
  (value: boolean) =>
  (event: MailEvent): MailEvent =>
    event.type === 'multipart-end' ? { ...event, blank: value } : event;

const declared = 'Content-Type: multipart/mixed; boundary=x\r\n\r\n';
const inner = 'Content-Type: multipart/mixed; boundary=never\r\n\r\nan order\r\n';

test('a multipart of which no part came out is a failure, and its defects are the reason', () => {
  assert.equal(
    failureOf(`${declared}an order\r\n`, blank(false)),
    'the mail says it has parts, but none could be found in it: a multipart whose boundary never appears',
  );
  assert.equal(
    failureOf('Content-Type: multipart/mixed\r\n\r\nan order\r\n', blank(false)),
    'the mail says it has parts, but none could be found in it: a multipart without a boundary parameter',
  );
  assert.equal(
    failureOf(`${declared}--x\r\n${inner}--x--\r\n`, blank(false)),
    'the mail says it has parts, but none could be found in it',
  );
});

test('a blank body hides nothing', () => {
  assert.equal(failureOf(`${declared}\r\n \r\n`, blank(true)), null);
});

test('what has a part is read, and so is what declares none', () => {
  assert.equal(failureOf(`${declared}--x\r\n\r\nan order\r\n`), null);
  assert.equal(failureOf(`${declared}--x\r\n${inner}--x\r\n\r\nan order\r\n`), null);
  assert.equal(failureOf('Subject: x\r\n\r\nan order\r\n'), null);
  assert.equal(failureOf(''), null);
});

test('a multipart message inside a mail does not make the mail unreadable', () => {
  const forwarded = `Content-Type: message/rfc822\r\n\r\n${inner}`;
  assert.equal(failureOf(forwarded, blank(false)), null);
  assert.equal(failureOf(`${declared}--x\r\n${forwarded}--x--\r\n`, blank(false)), null);
});
