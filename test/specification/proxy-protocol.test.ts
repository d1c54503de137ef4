/** SMTP_PROXY_PROTOCOL_FROM with the product: whose address is recorded, and what balancers leave in the log. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { connectSmtp } from '../../src/testing/smtp-client.ts';
import { acceptedId } from './support/assertions.ts';
import { startIngest, wireText } from './support/ingest.ts';
import { mail, textPart } from './support/mails.ts';

test('PROXY protocol', async (t) => {
  const ingest = await startIngest(t, { env: { SMTP_PROXY_PROTOCOL_FROM: '127.0.0.1' } });

  await t.test("log and record have the client's address", async () => {
    const client = await connectSmtp({ port: ingest.port });
    await client.write('PROXY TCP4 192.0.2.1 198.51.100.1 56324 25\r\n');
    assert.equal((await client.readReply()).code, 220);
    await client.command('EHLO client.example');
    await client.command('MAIL FROM:<buyer@customer.example>');
    await client.command('RCPT TO:<orders+acme@orderflow.example.com>');
    await client.command('DATA');
    await client.write(Buffer.concat([mail(textPart('an order')), Buffer.from('.\r\n')]));
    const id = acceptedId(wireText(await client.readReply()));
    client.close();
    assert.equal((await ingest.rows.message(id)).remote_address, '192.0.2.1');
    await ingest.waitForLog({ msg: 'session closed', remote_address: '192.0.2.1' });
    await ingest.waitForLog({ msg: 'mail parsed', inbound_message_id: id });
  });

  await t.test('health checks leave nothing above debug; a balancer without a header is told', async () => {
    const before = ingest.product.log.filter(({ level }) => level !== 'debug').length;
    for (let count = 0; count < 5; count++) (await connectSmtp({ port: ingest.port })).close();
    const local = await connectSmtp({ port: ingest.port });
    await local.write(Buffer.from('0d0a0d0a000d0a515549540a20000000', 'hex'));
    assert.equal((await local.readReply()).code, 220);
    local.close();
    await ingest.waitForLog({ msg: 'session closed', remote_address: '127.0.0.1' });
    assert.deepEqual(ingest.product.log.filter(({ level }) => level !== 'debug').slice(before), []);
    const bare = await connectSmtp({ port: ingest.port });
    await bare.write('EHLO client.example\r\n');
    await bare.closed;
    const msg = 'no usable PROXY header from a listed balancer';
    await ingest.waitForLog({ msg, level: 'warn', remote_address: '127.0.0.1', reason: 'no-header' });
  });
});
