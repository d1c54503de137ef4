/** What real senders bend, with the product as an operator runs it: what is taken, recorded, blocked and refused. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { connectSmtp } from '../../src/testing/smtp-client.ts';
import { acceptedId } from './support/assertions.ts';
import { type Ingest, startIngest, wireText } from './support/ingest.ts';
import { CSV, mailWith } from './support/mails.ts';

const ACME = 'orders+acme@xn--bcher-kva.example';

let mails = 0;
/** Another one at each call, so that none is a duplicate. */
const newMail = (): string => `Message-ID: <odd-${++mails}@b.example>\r\n${mailWith([CSV]).toString('latin1')}`;

/** The replies to each line; the mail is sent where DATA was taken. */
async function converse(ingest: Ingest, lines: readonly string[]): Promise<readonly string[]> {
  const client = await connectSmtp({ port: ingest.port });
  const replies: string[] = [];
  await client.readReply();
  for (const line of lines) {
    const reply = await client.command(line);
    replies.push(wireText(reply));
    if (reply.code !== 354) continue;
    await client.write(Buffer.from(`${newMail().replaceAll('\r\n.', '\r\n..')}\r\n.\r\n`, 'latin1'));
    replies.push(wireText(await client.readReply()));
  }
  client.close();
  return replies;
}

test('odd but honest senders', async (t) => {
  const ingest = await startIngest(t, {
    organisations: ['acme', 'desk'],
    env: { SMTP_DOMAIN: 'bücher.example,orderflow.example.com', SMTP_POSTMASTER_ORG: 'desk' },
  });
  const taken = async (lines: readonly string[]) => {
    const id = acceptedId((await converse(ingest, [...lines, 'DATA'])).at(-1) ?? '');
    const { rows } = await ingest.pool.query('SELECT * FROM inbound_message WHERE id = $1', [id]);
    return rows[0];
  };

  await t.test('the name of a client is on the record as it was sent', async () => {
    for (const name of ['my scanner', 'CORP\\PC01', 'büro-pc', '']) {
      const row = await taken([`HELO ${name}`, 'MAIL FROM:a@b.example SIZE=10', `RCPT TO: ${ACME}`]);
      assert.equal(row.helo_name, name);
    }
  });

  await t.test('a domain is ours in every form of it', async () => {
    for (const domain of ['xn--bcher-kva.example', 'BÜCHER.example', 'bücher.example.', 'orderflow.example.com.']) {
      const row = await taken(['EHLO c', 'MAIL FROM:<a@b.example> SMTPUTF8', `RCPT TO:<orders+acme@${domain}>`]);
      assert.deepEqual([row.org_id, row.to_email], [ingest.orgId('acme'), `orders+acme@${domain}`]);
    }
    for (const domain of ['orderflow%2eexample.com', 'orderflow．example．com', 'ｏｒｄｅｒｆｌｏｗ.example.com'])
      assert.match(
        (await converse(ingest, ['EHLO c', 'MAIL FROM:<> SMTPUTF8', `RCPT TO:<orders+acme@${domain}>`])).at(-1) ?? '',
        /^501 5\.1\.3 /,
      );
  });

  await t.test('postmaster, bare and at our domains, is recorded for the organisation that is named', async () => {
    for (const to of [
      '<postmaster>',
      'PostMaster',
      '<POSTMASTER@bücher.example>',
      '<postmaster@orderflow.example.com>',
    ]) {
      const row = await taken(['EHLO c', 'MAIL FROM:<> SMTPUTF8', `RCPT TO:${to}`]);
      assert.equal(row.org_id, ingest.orgId('desk'), to);
    }
    const foreign = await converse(ingest, ['EHLO c', 'MAIL FROM:<>', 'RCPT TO:<postmaster@elsewhere.example>']);
    assert.match(foreign.at(-1) ?? '', /^550 5\.7\.1 /);
  });

  await t.test('a block holds for every form of the domain, and for what an earlier version had kept', async () => {
    const blocked = await ingest.cli('block', 'add', '@straße.example');
    assert.equal(blocked.code, 0, blocked.stderr);
    await ingest.pool.query(`INSERT INTO blocked_sender (pattern) VALUES ('@größe.example')`);
    for (const sender of [
      'a@straße.example',
      'a@xn--strae-oqa.example',
      'a@xn--strae-oqa.example.',
      'a@größe.example',
      'a@xn--gre-6ka8i.example',
    ]) {
      const [, reply = ''] = await converse(ingest, ['EHLO c', `MAIL FROM:<${sender}> SMTPUTF8`]);
      assert.match(reply, /^550 5\.7\.1 /, sender);
    }
    assert.equal((await ingest.cli('block', 'remove', '@größe.example')).code, 0);
    assert.equal((await ingest.cli('block', 'remove', '@xn--strae-oqa.example')).code, 0);
    const { rows } = await ingest.pool.query('SELECT 1 FROM blocked_sender');
    assert.deepEqual(rows, []);
  });

  await t.test('a mail that goes round in a loop is refused', async () => {
    const hop = 'Received: from a by b\r\n';
    const to = [ACME];
    assert.equal(await ingest.send({ to, data: `${hop.repeat(101)}${newMail()}` }), '554 5.4.6 Routing loop');
    acceptedId(await ingest.send({ to, data: `${hop.repeat(100)}${newMail()}` }));
  });
});

test('postmaster without anybody: 550 without the setting, a warning and 451 while the organisation is missing', async (t) => {
  const nobody = await startIngest(t);
  assert.equal(await nobody.send({ to: ['postmaster'], data: newMail() }), '550 5.1.1 Unknown recipient');
  const desk = await startIngest(t, { env: { SMTP_POSTMASTER_ORG: 'desk' } });
  await desk.waitForLog({
    level: 'warn',
    msg: 'SMTP_POSTMASTER_ORG: there is no organisation desk, so mail to postmaster is answered 451',
  });
  assert.match(await desk.send({ to: ['postmaster'], data: newMail() }), /^451 4\.3\.0 /);
  assert.equal((await desk.cli('org', 'add', 'desk')).code, 0);
  acceptedId(await desk.send({ to: ['postmaster'], data: newMail() }));
});
