/** What the whole product writes to its log at `info`, and what becomes of mail when nobody reads it. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { constants, openSync, readSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import { fileURLToPath } from 'node:url';
import pg from 'pg';
import { cleanUp } from '../src/testing/clean-up.ts';
import { composeMail } from '../src/testing/compose-mail.ts';
import { createTestDatabase } from '../src/testing/database.ts';
import { missing } from '../src/testing/missing.ts';
import { type LogLine, type ProductOptions, startProduct } from '../src/testing/product.ts';
import { connectSmtp, sendRaw } from '../src/testing/smtp-client.ts';
import { temporaryFolder } from '../src/testing/temporary-folder.ts';
import { waitFor } from '../src/testing/wait-for.ts';

const RECIPIENT = 'orders+acme@orderflow.example.com';
const LEFT_OUT = 'log lines left out: too many in a minute';
const ALLOWED_BYTES = 64 * 1024;

async function openHouse(t: TestContext) {
  const database = await createTestDatabase();
  cleanUp(t, () => database.close());
  const client = new pg.Client({ connectionString: database.url });
  await client.connect();
  cleanUp(t, () => client.end());
  await client.query(`INSERT INTO org (name, slug) VALUES ('Acme', 'acme')`);
  const dataDir = await temporaryFolder(t);
  return {
    start: (env: Readonly<Record<string, string>>, more: Partial<ProductOptions> = {}) =>
      startProduct(t, { dataDir, env: { DATABASE_URL: database.url, ...env }, ...more }),
    count: async (condition: string): Promise<number> =>
      Number((await client.query(`SELECT count(*) FROM inbound_message WHERE ${condition}`)).rows[0].count),
    documents: async (): Promise<string[]> =>
      (await client.query('SELECT id FROM document ORDER BY part_path')).rows.map(({ id }) => id),
  };
}

const bytesOf = (lines: readonly LogLine[]): number =>
  lines.reduce((sum, line) => sum + Buffer.byteLength(JSON.stringify(line)) + 1, 0);

/** The shortest mails there are, many in a session, none waiting for a reply. Shape: bytes sent. */
async function flood(port: number, o: { sessions: number; mails: number }): Promise<number> {
  let sentBytes = 0;
  for (let session = 0; session < o.sessions; session++) {
    const client = await connectSmtp({ port });
    await client.readReply('greeting');
    await client.command('EHLO c');
    for (let n = 0; n < o.mails; n++) {
      const text = `MAIL FROM:<>\r\nRCPT TO:<${RECIPIENT}>\r\nDATA\r\nMessage-ID: <${session}.${n >> 1}@c>\r\n\r\n.\r\n`;
      await client.write(text);
      sentBytes += text.length;
      for (const step of ['MAIL', 'RCPT', 'DATA', 'mail']) await client.readReply(step);
    }
    client.close();
  }
  return sentBytes;
}

describe('the log at info', { timeout: 180_000 }, () => {
  it('a mail has a line when it is accepted and one when it is read, with the ids of its documents', async (t) => {
    const house = await openHouse(t);
    const product = await house.start({ LOG_LEVEL: 'info' });
    const before = product.log.length;
    const data = await composeMail({
      messageId: '<order.1@customer.example>',
      attachments: [1, 2].map((n) => ({ fileName: `${n}.csv`, contentType: 'text/csv', content: String(n) })),
    });
    const { verdict } = await sendRaw({ port: product.smtpPort, from: 'b@c.example', to: [RECIPIENT], data });
    assert.equal(verdict.code, 250);
    await waitFor(() => product.log.length >= before + 2, { what: 'both lines' });
    await product.stop();
    const lines = product.log.filter(({ trace_id }) => trace_id !== undefined);
    assert.deepEqual(lines.map(({ msg, level }) => `${level} ${msg}`).toSorted(), [
      'info mail accepted',
      'info mail parsed',
    ]);
    for (const line of lines) {
      assert.equal(line.message_id, '<order.1@customer.example>');
      assert.deepEqual(
        [line.inbound_message_id, line.org_id].map((id) => typeof id),
        ['string', 'string'],
      );
    }
    assert.equal(new Set(lines.map((line) => `${line.trace_id} ${line.inbound_message_id} ${line.org_id}`)).size, 1);
    const { documents, document_ids } = lines.find(({ msg }) => msg === 'mail parsed') ?? {};
    assert.deepEqual([documents, document_ids], [2, await house.documents()]);
  });

  it('a flood of small mails writes no more than it sent, and 64 KB; what is left out is counted', async (t) => {
    const house = await openHouse(t);
    const product = await house.start({ LOG_LEVEL: 'info' });
    const before = product.log.length;
    const sentBytes = await flood(product.smtpPort, { sessions: 20, mails: 40 });
    await waitFor(async () => (await house.count(`status = 'PARSED'`)) === 400, { timeoutMs: 90_000, what: 'PARSED' });
    await product.stop();
    const lines = product.log.slice(before);
    const loggedBytes = bytesOf(lines);
    t.diagnostic(`${loggedBytes} bytes of log, ${sentBytes} sent`);
    assert.ok(loggedBytes <= sentBytes + ALLOWED_BYTES, `${loggedBytes} bytes of log, ${sentBytes} sent`);
    const told = (text: string): number =>
      lines.filter(({ msg }) => msg === text).length +
      lines
        .filter(({ msg }) => msg === LEFT_OUT)
        .reduce((sum, { left_out }) => sum + ((left_out as Record<string, number>)[text] ?? 0), 0);
    assert.deepEqual(
      ['mail accepted', 'duplicate mail: it is here already', 'no attachments in this mail', 'mail parsed'].map(told),
      [400, 400, 400, 400],
    );
  });

  it('a mail whose media types are as long as they can be writes no line beyond 4 KB', async (t) => {
    const house = await openHouse(t);
    const product = await house.start({ LOG_LEVEL: 'debug' });
    const long = 'x'.repeat(240 * 1024);
    const part = `--b\r\nContent-Type: application/${long}\r\nContent-Disposition: attachment\r\n\r\nx\r\n`;
    const head = `Message-ID: <1@c>\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n`;
    const data = Buffer.from(`${head}${part.repeat(20)}--b--\r\n`);
    const { verdict } = await sendRaw({ port: product.smtpPort, from: 'b@c.example', to: [RECIPIENT], data });
    assert.equal(verdict.code, 250);
    await waitFor(async () => (await house.count(`status = 'PARSED'`)) === 1, { what: 'PARSED' });
    await product.stop();
    for (const line of product.log) assert.ok(bytesOf([line]) <= 4096, JSON.stringify(line).slice(0, 500));
  });
});

it('the log at debug: every session has two lines, each refused mail one with its trace_id', async (t) => {
  const house = await openHouse(t);
  const product = await house.start({ LOG_LEVEL: 'debug' });
  const offer = async (to: string, data: string): Promise<number> =>
    (await sendRaw({ port: product.smtpPort, from: 'b@c.example', to: [to], data })).verdict.code;
  assert.equal(await offer(RECIPIENT, 'Message-ID: <1@c>\r\n\r\nx\r\n'), 250);
  assert.equal(await offer(RECIPIENT.replace('acme', 'acne'), 'Message-ID: <2@c>\r\n\r\nx\r\n'), 550);
  assert.equal(await offer(RECIPIENT, `${'Received: from a by b\r\n'.repeat(101)}\r\nx\r\n`), 554);
  await product.stop();
  const texts = (name: string): unknown[] => product.log.filter(({ msg }) => msg === name);
  assert.deepEqual([texts('session opened').length, texts('session closed').length], [3, 3]);
  const refused = product.log.filter(({ msg }) => /^(mail|recipient) refused$/.test(String(msg)));
  assert.deepEqual(
    refused.map(({ level, reason, trace_id }) => [level, reason, /^[0-9a-f]{32}$/.test(String(trace_id))]),
    [
      ['debug', 'unknown-recipient', true],
      ['debug', 'routing-loop', true],
    ],
  );
});

describe('a log that nobody reads', { timeout: 180_000 }, () => {
  it('keeps no mail waiting, with several processes on one pipe; every line is whole once it is read', async (t) => {
    const pipe = join(await temporaryFolder(t), 'pipe');
    if (spawnSync('mkfifo', [pipe]).status !== 0) return missing(t, 'mkfifo', 'coreutils');
    const reader = openSync(pipe, constants.O_RDWR | constants.O_NONBLOCK);
    const program = join(await temporaryFolder(t), 'program');
    const launcher = fileURLToPath(new URL('../bin/orderflow-ingest.cjs', import.meta.url));
    const run = `#!/bin/sh\nexec ${process.execPath} ${launcher} "$@" >${pipe}\n`;
    await writeFile(program, run, { mode: 0o755 });
    const house = await openHouse(t);
    const product = await house.start({ LOG_LEVEL: 'debug' }, { program, args: ['--processes', '2'] });
    let text = '';
    const read = (): void => {
      const buffer = Buffer.alloc(65_536);
      try {
        for (;;) text += buffer.toString('latin1', 0, readSync(reader, buffer));
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'EAGAIN') throw error;
      }
    };
    const wrong = `RCPT TO:<${'w'.repeat(200)}@orderflow.example.com>\r\n`;
    for (let session = 0; session < 60; session++) {
      const client = await connectSmtp({ port: product.smtpPort });
      await client.readReply('greeting');
      await client.command('EHLO c');
      await client.command(`MAIL FROM:<${'s'.repeat(200)}@c.example>`);
      await client.write(wrong.repeat(80));
      for (let n = 0; n < 80; n++) await client.readReply('RCPT');
      for (const line of [`RCPT TO:<${RECIPIENT}>`, 'DATA']) await client.command(line);
      assert.equal((await client.command(`Message-ID: <${session}@c>\r\n\r\n.`)).code, 250);
      client.close();
    }
    await waitFor(
      () => {
        read();
        return text.includes('lost_lines');
      },
      { what: 'the count of lines that were lost' },
    );
    const stopped = product.stop();
    const reading = setInterval(read, 20);
    await stopped;
    clearInterval(reading);
    read();
    const lines = text
      .trimEnd()
      .split('\n')
      .map((line): LogLine => JSON.parse(line));
    for (const { lost_lines, code } of lines.filter((line) => line.lost_lines !== undefined)) {
      assert.ok(Number(lost_lines) > 0);
      assert.equal(code, 'EAGAIN');
    }
    assert.equal(lines.filter(({ msg }) => msg === 'stopped').length, 1);
    assert.equal(await house.count('true'), 60);
  });
});
