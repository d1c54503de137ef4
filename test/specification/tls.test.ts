/** STARTTLS with the product as an operator runs it: certificate files, their renewal, and what is recorded. */
import assert from 'node:assert/strict';
import { renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { connect } from 'node:tls';
import { makeCertificateIn, opensslProblem, type TestCertificate } from '../../src/testing/certificate.ts';
import { missing } from '../../src/testing/missing.ts';
import { connectSmtp } from '../../src/testing/smtp-client.ts';
import { temporaryFolder } from '../../src/testing/temporary-folder.ts';
import { waitFor } from '../../src/testing/wait-for.ts';
import { acceptedId } from './support/assertions.ts';
import { SWAKS, sendBySwaks } from './support/clients.ts';
import { type Ingest, startIngest } from './support/ingest.ts';
import { mail, textPart } from './support/mails.ts';
import { sha256 } from './support/objects.ts';

test('STARTTLS', async (t) => {
  const problem = opensslProblem();
  if (problem !== null) return missing(t, 'openssl', problem);
  const folder = await temporaryFolder(t);
  const live = makeCertificateIn(join(folder, 'live'), { name: 'mx.orderflow.example.com' });
  const env = { SMTP_TLS_CERT_FILE: live.certFile, SMTP_TLS_KEY_FILE: live.keyFile };
  const ingest = await startIngest(t, { env });

  await t.test('swaks --tls: version and cipher are on the record, in the log and in messages show', async (t) => {
    if (SWAKS === null) return missing(t, 'swaks', 'apt-get install swaks libnet-ssleay-perl');
    const { verdict, transcript } = await sendBySwaks(ingest, [], ['--tls']);
    assert.match(transcript, /=== TLS started with cipher TLSv1\.3/);
    const id = acceptedId(verdict);
    const { tls_version, tls_cipher } = await ingest.rows.message(id);
    assert.equal(tls_version, 'TLSv1.3');
    assert.match(tls_cipher ?? '', /^TLS_[A-Z0-9_]+$/);
    await ingest.waitForLog({ msg: 'mail accepted', inbound_message_id: id, tls_version, tls_cipher });
    const { stdout } = await ingest.cli('messages', 'show', id);
    assert.match(stdout.toString(), new RegExp(`^TLS +TLSv1\\.3 ${tls_cipher}$`, 'm'));
    assert.ok((await ingest.metric('smtp_tls_handshakes_total', { outcome: 'completed' })) >= 1);
    assert.ok((await ingest.metric('smtp_tls_certificate_not_after_seconds')) > Date.now() / 1000);
  });

  await t.test('a mail in the clear is taken too, and the record says so', async () => {
    const { message } = await ingest.take(mail(textPart('in the clear')));
    assert.deepEqual([message.tls_version, message.tls_cipher], [null, null]);
  });

  await t.test('a large mail over TLS is stored as sent', async () => {
    const data = mail(textPart('0123456789abcdef'.repeat(4).concat('\r\n').repeat(120_000)));
    const client = await connectSmtp({ port: ingest.port });
    const secure = await handshake(client.socket, client);
    const id = acceptedId(await deliver(secure, data));
    const { raw_storage_key } = await ingest.rows.message(id);
    assert.equal(sha256(await ingest.objects.read(raw_storage_key)), sha256(data));
    secure.destroy();
  });

  await t.test('the command `send` uses TLS', async () => {
    const file = join(folder, 'order.txt');
    writeFileSync(file, 'an order');
    const where = ['--smtp', `127.0.0.1:${ingest.port}`];
    const { code, stdout, stderr } = await ingest.cli('send', '--to', 'acme', ...where, file);
    assert.equal(code, 0, stderr);
    const id = /accepted (\S+)/.exec(stdout.toString() + stderr)?.[1] ?? '';
    assert.equal((await ingest.rows.message(id)).tls_version, 'TLSv1.3');
  });

  await t.test('a handshake that fails is one short line and one count', async () => {
    const client = await connectSmtp({ port: ingest.port });
    await client.readReply();
    await client.command('EHLO c');
    await client.command('STARTTLS');
    await client.write('MAIL FROM:<a@b.example>\r\n');
    await client.closed;
    const line = await ingest.waitForLog({ msg: 'TLS handshake failed', level: 'info', outcome: 'failed' });
    assert.match(String(line.reason), /^ERR_SSL_/);
    assert.equal(await ingest.metric('smtp_tls_handshakes_total', { outcome: 'failed' }), 1);
  });

  await t.test('SIGHUP: a renewed certificate is served at once, and old sessions go on', async () => {
    const client = await connectSmtp({ port: ingest.port });
    const old = await handshake(client.socket, client);
    put(live, makeCertificateIn(join(folder, 'renewed'), { name: 'renewed.example' }));
    process.kill(ingest.product.pid, 'SIGHUP');
    const inUse = () => ingest.logged({ msg: 'TLS certificate in use' });
    await waitFor(() => inUse().length === 2, { what: 'the renewed certificate' });
    assert.deepEqual(inUse()[1]?.names, ['renewed.example']);
    assert.equal(await servedName(ingest), 'renewed.example');
    acceptedId(await deliver(old, mail(textPart('on the old session'))));
    old.destroy();
  });

  await t.test('without a signal it is served some seconds later; a broken one is told and not used', async () => {
    const next = makeCertificateIn(join(folder, 'next'), { name: 'next.example' });
    put(live, next);
    await waitFor(async () => (await servedName(ingest)) === 'next.example', {
      what: 'the next certificate',
      timeoutMs: 60_000,
      intervalMs: 200,
    });
    writeFileSync(live.certFile, makeCertificateIn(join(folder, 'stray'), {}).cert);
    process.kill(ingest.product.pid, 'SIGHUP');
    const told = (text: string) =>
      ingest.product.log.some(({ level, msg }) => level === 'error' && `${msg}`.includes(text));
    await waitFor(() => told('is not the key of the certificate'), { what: 'the error' });
    assert.equal(await servedName(ingest), 'next.example');
    put(live, next);
  });

  await t.test('SMTP_REQUIRE_TLS: 530 before STARTTLS', async () => {
    const strict = await ingest.startAnother({ SMTP_REQUIRE_TLS: 'true' });
    const client = await connectSmtp({ port: strict.smtpPort });
    await client.readReply();
    await client.command('EHLO c');
    const refused = await client.command('MAIL FROM:<a@b.example>');
    assert.deepEqual([refused.code, refused.lines], [530, ['5.7.0 Must issue a STARTTLS command first']]);
    client.close();
    const other = await connectSmtp({ port: strict.smtpPort });
    const secure = await handshake(other.socket, other);
    acceptedId(await deliver(secure, mail(textPart('over TLS'))));
    secure.destroy();
    await strict.stop();
  });
});

type Plain = Awaited<ReturnType<typeof connectSmtp>>;

async function handshake(socket: Plain['socket'], client: Plain): Promise<ReturnType<typeof connect>> {
  await client.readReply();
  await client.command('EHLO client.example');
  assert.equal((await client.command('STARTTLS')).code, 220);
  const secure = connect({ socket, rejectUnauthorized: false });
  await new Promise<void>((resolve, reject) => {
    secure.once('secureConnect', resolve);
    secure.once('error', reject);
  });
  return secure;
}

/** The reply to the mail. */
async function deliver(secure: ReturnType<typeof connect>, data: Buffer): Promise<string> {
  let said = '';
  secure.setEncoding('latin1').on('data', (text: string) => {
    said += text;
  });
  const say = async (bytes: string | Buffer): Promise<string> => {
    said = '';
    secure.write(bytes);
    const last = await waitFor(() => /^(\d{3} .*)\r\n$/m.exec(said)?.[1], { what: 'a reply', intervalMs: 2 });
    return last;
  };
  await say('EHLO client.example\r\n');
  await say('MAIL FROM:<buyer@customer.example>\r\n');
  await say('RCPT TO:<orders+acme@orderflow.example.com>\r\n');
  await say('DATA\r\n');
  return say(Buffer.concat([data, Buffer.from('.\r\n')]));
}

async function servedName(ingest: Ingest): Promise<string | undefined> {
  const client = await connectSmtp({ port: ingest.port });
  const secure = await handshake(client.socket, client);
  const { CN } = secure.getPeerCertificate().subject;
  secure.destroy();
  return String(CN);
}

/** As renewals do: each new file takes the old one's name. */
function put(live: TestCertificate, { cert, key }: TestCertificate): void {
  for (const [path, pem] of [
    [live.certFile, cert],
    [live.keyFile, key],
  ] as const) {
    writeFileSync(`${path}.new`, pem);
    renameSync(`${path}.new`, path);
  }
}
