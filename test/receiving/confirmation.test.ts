import assert from 'node:assert/strict';
import { test } from 'node:test';
import { startIngest } from '../specification/support/ingest.ts';
import { exampleOf } from './page.ts';

/** As Gmail writes it, shortened. */
const CONFIRMATION = [
  'Message-ID: <confirmation@mail.google.com>',
  'From: Gmail Team <forwarding-noreply@google.com>',
  'To: orders+acme@orderflow.example.com',
  'Subject: (#123456789) Gmail Forwarding Confirmation - Receive Mail from buyer@company.example',
  'Content-Type: text/plain; charset=UTF-8',
  '',
  'buyer@company.example has requested to automatically forward mail to your email address.',
  'Confirmation code: 123456789',
  'https://mail-settings.google.com/mail/vf-abc',
  '',
].join('\r\n');

test('the commands of docs/receiving.md find the mail with which Google asks for a confirmation, and its code', async (t) => {
  const ingest = await startIngest(t);
  const { message, documents } = await ingest.take(CONFIRMATION, { from: 'forwarding-noreply@google.com' });
  assert.equal(message.status, 'PARSED');
  assert.equal(documents.length, 0);
  await ingest.take('Message-ID: <order@customer.example>\r\nFrom: buyer@customer.example\r\n\r\norder\r\n');
  const [list = '', raw = ''] = exampleOf('From Google Workspace', 1).trim().split('\n');
  const run = async (line: string): Promise<string> => {
    const [program, ...args] = line.split(' ');
    assert.equal(program, 'orderflow-ingest');
    const { code, stdout, stderr } = await ingest.cli(...args);
    assert.equal(code, 0, stderr);
    return stdout.toString();
  };
  const ids = (await run(list)).match(/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/g);
  assert.deepEqual(ids, [message.id]);
  assert.match(await run(raw.replace('<id>', message.id)), /^Confirmation code: 123456789\r$/m);
});
