import assert from 'node:assert/strict';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { type TestContext, test } from 'node:test';
import { SMTPServer } from 'smtp-server';
import { composeMail } from './compose-mail.ts';
import { connectSmtp, dotStuffed, sendRaw } from './smtp-client.ts';

async function startPeer(t: TestContext): Promise<{ port: number; received: Buffer[] }> {
  const received: Buffer[] = [];
  const server = new SMTPServer({
    authOptional: true,
    disabledCommands: ['AUTH', 'STARTTLS'],
    onRcptTo: ({ address }, _session, done) => done(address.startsWith('no') ? new Error('no such user') : null),
    onData: async (stream, _session, done) => {
      received.push(Buffer.concat(await stream.toArray()));
      done();
    },
  });
  server.on('error', () => {});
  await once(server.listen(0, '127.0.0.1'), 'listening');
  t.after(() => new Promise<void>((resolve) => server.close(() => resolve())));
  return { port: (server.server.address() as AddressInfo).port, received };
}

test('a composed mail arrives byte for byte, with every reply kept', async (t) => {
  const { port, received } = await startPeer(t);
  const data = await composeMail({
    messageId: '<one@customer.example>',
    text: '.starts with a dot\r\n..two',
    attachments: [{ fileName: 'Bestellung ä.pdf', content: '%PDF-1.7', contentType: 'application/pdf' }],
  });
  const to = ['orders+acme@a.example', 'nobody@a.example'];
  const { replies, verdict } = await sendRaw({ port, from: 'buyer@b.example', to, data });
  assert.deepEqual(
    replies.map(({ code }) => code),
    [220, 250, 250, 250, 550, 354, 250, 221],
  );
  assert.equal(verdict.command, 'mail data');
  assert.ok(received[0]?.equals(data));
  assert.match(data.toString(), /^Message-ID: <one@customer\.example>\r$/m);
});

test('a refusal before the mail data is the verdict', async (t) => {
  const { port, received } = await startPeer(t);
  const { verdict } = await sendRaw({ port, from: 'a@b.example', to: ['nobody@a.example'], data: 'x' });
  assert.equal(verdict.code, 550);
  assert.equal(received.length, 0);
});

test('a silent or closing server is an error within the deadline', async (t) => {
  const { port } = await startPeer(t);
  const client = await connectSmtp({ port, timeoutMs: 200 });
  await client.readReply('greeting');
  await assert.rejects(client.readReply('nothing'), /no reply to "nothing" within 200 ms/);
  await client.command('QUIT');
  await client.closed;
  await assert.rejects(client.readReply('more'), /closed the connection/);
});

test('a mail can be composed without a Message-ID', async () => {
  const data = (await composeMail({ messageId: null })).toString();
  assert.doesNotMatch(data, /message-id/i);
  assert.match(data, /^From: .*\r\nTo: /);
});

test('only a dot at the beginning of a line is stuffed', () => {
  assert.equal(dotStuffed('.a\r\n.b\n.c').toString(), '..a\r\n..b\n.c\r\n.\r\n');
  assert.equal(dotStuffed('').toString(), '.\r\n');
});
