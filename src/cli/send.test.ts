import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { SMTPServer, type SMTPServerOptions } from 'smtp-server';
import type { MessageView } from '../ports/message-view.ts';
import { cleanUp } from '../testing/clean-up.ts';
import { freePort } from '../testing/free-port.ts';
import { temporaryFolder } from '../testing/temporary-folder.ts';
import {
  createMemoryToolbox,
  createTestCli,
  messageView,
  type TestCliOptions,
  TestNoDatabaseError,
} from './test-context.ts';

const { id } = messageView();

/** A server that is not ours, which answers the end of DATA with the given text. */
async function smtpServer(t: TestContext, answer: string, options: SMTPServerOptions = {}) {
  const mails: { text: string; from: string; to: readonly string[] }[] = [];
  const server = new SMTPServer({
    authOptional: true,
    disabledCommands: ['AUTH', 'STARTTLS'],
    logger: false,
    onData(stream, session, done) {
      const chunks: Buffer[] = [];
      stream.on('data', (chunk: Buffer) => chunks.push(chunk));
      stream.on('end', () => {
        const { mailFrom, rcptTo } = session.envelope;
        mails.push({
          text: Buffer.concat(chunks).toString('latin1'),
          from: mailFrom ? mailFrom.address : '',
          to: rcptTo.map(({ address }) => address),
        });
        done(null, answer);
      });
    },
    ...options,
  });
  const port = await freePort();
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', () => resolve()));
  cleanUp(t, () => new Promise<void>((resolve) => server.close(() => resolve())));
  return { mails, endpoint: `127.0.0.1:${port}`, port };
}

/** A toolbox whose message goes through the given states, one at each look. */
function toolboxWith(...states: readonly Partial<MessageView>[]) {
  const toolbox = createMemoryToolbox();
  let looks = 0;
  const findMessage = async (): Promise<MessageView | null> => {
    const state = states[Math.min(looks, states.length - 1)];
    looks += 1;
    return state === undefined ? null : messageView(state);
  };
  return { ...toolbox, messages: { ...toolbox.messages, findMessage } };
}

async function sender(t: TestContext, options: TestCliOptions, ...states: readonly Partial<MessageView>[]) {
  const cwd = await temporaryFolder(t);
  await writeFile(join(cwd, 'order.pdf'), '%PDF-1.7 order');
  const compose = { openToolbox: async () => toolboxWith(...states) };
  return { cwd, cli: createTestCli({ cwd, compose, ...options }) };
}

const documents = [
  {
    id: '01890a5d-ac96-774b-bcce-b302099a8001',
    partPath: '2',
    fileName: 'order.pdf',
    mimeType: 'application/pdf',
    declaredMimeType: 'application/pdf',
    sizeBytes: 14,
    sha256: 'ab'.repeat(32),
    storageKey: 'k',
    status: 'STORED',
    error: null,
  },
];

test('a slug becomes its address, the reply is printed, the message followed, its documents listed', async (t) => {
  const server = await smtpServer(t, `2.0.0 accepted ${id}`);
  const { cli } = await sender(
    t,
    {},
    { status: 'RECEIVED' },
    { status: 'RECEIVED' },
    { status: 'STORED' },
    { documents },
  );
  const { code, stdout, stderr } = await cli.run('send', '--to', 'ACME', '--smtp', server.endpoint, 'order.pdf');
  assert.equal(code, 0, stderr);
  assert.match(
    stdout,
    new RegExp(`^250 .*accepted ${id}\nfile .*\norder\\.pdf +application/pdf +14 +STORED +(ab){32} +01890a5d`),
  );
  assert.equal(stderr, 'RECEIVED. STORED PARSED\n');
  assert.deepEqual(server.mails[0]?.to, ['orders+acme@orderflow.example.com']);
  assert.equal(server.mails[0]?.from, 'buyer@example.com');
  assert.match(server.mails[0]?.text ?? '', /^Subject: Purchase order: order\.pdf\r$/m);
});

test('files arrive byte for byte, several of them, under sender and subject as given', async (t) => {
  const server = await smtpServer(t, `2.0.0 accepted ${id}`);
  const { cli, cwd } = await sender(t, { env: { SMTP_PORT: String(server.port) } }, { documents });
  const large = randomBytes(300_000);
  await writeFile(join(cwd, 'größe.bin'), large);
  const options = ['--to', 'orders+x@example.net', '--from', 'me@example.org', '--subject', 'Hällo'];
  const { code, stderr } = await cli.run('send', ...options, 'order.pdf', 'größe.bin');
  assert.equal(code, 0, stderr);
  const text = server.mails[0]?.text ?? '';
  const parts = text.split(/\r\n--[^\r]*/).filter((part) => /^content-disposition: attachment/im.test(part));
  const bodies = parts.map((part) => Buffer.from(part.slice(part.indexOf('\r\n\r\n')), 'base64'));
  assert.deepEqual(
    bodies.map((body) => createHash('sha256').update(body).digest('hex')),
    [createHash('sha256').update('%PDF-1.7 order').digest('hex'), createHash('sha256').update(large).digest('hex')],
  );
  assert.equal(server.mails[0]?.from, 'me@example.org');
  assert.deepEqual(server.mails[0]?.to, ['orders+x@example.net']);
  assert.match(text, /^Subject: =\?UTF-8\?/im);
});

test('--json is one object with the reply and the message', async (t) => {
  const server = await smtpServer(t, `2.0.0 duplicate of ${id}`);
  const { cli } = await sender(t, {}, { documents });
  const { code, stdout } = await cli.run('send', '--json', '--to', 'acme', '--smtp', server.endpoint, 'order.pdf');
  assert.equal(code, 0);
  const said = JSON.parse(stdout);
  assert.match(said.smtp_reply, /^250 .*duplicate of/);
  assert.equal(said.followed, true);
  assert.equal(said.messages[0].documents[0].file_name, 'order.pdf');
});

test('a refusal is printed as the server said it, and ends with 1', async (t) => {
  const server = await smtpServer(t, '', {
    onRcptTo: (_address, _session, done) =>
      done(Object.assign(new Error('5.1.1 Unknown \u001b[31mrecipient'), { responseCode: 550 })),
  });
  const { cli } = await sender(t, {});
  const { code, stdout, stderr } = await cli.run('send', '--to', 'nobody', '--smtp', server.endpoint, 'order.pdf');
  assert.equal(code, 1);
  assert.equal(stdout, '');
  assert.match(stderr, /^error: 127\.0\.0\.1:\d+ refused the mail: 550 5\.1\.1 Unknown .*\[31mrecipient\n$/);
  assert.doesNotMatch(stderr, /\u001b/);
});

test('without a server: 1, and what to do', async (t) => {
  const { cli } = await sender(t, {});
  const { code, stderr } = await cli.run(
    'send',
    '--to',
    'acme',
    '--smtp',
    `127.0.0.1:${await freePort()}`,
    'order.pdf',
  );
  assert.equal(code, 1);
  assert.match(stderr, /^error: no server listens on 127\.0\.0\.1:\d+: start it, or give --smtp\n$/);
});

test('a file that is missing, or is a directory, is used wrongly, and nothing is sent', async (t) => {
  const server = await smtpServer(t, `2.0.0 accepted ${id}`);
  const { cli, cwd } = await sender(t, {}, { documents });
  await mkdir(join(cwd, 'folder'));
  const { code, stderr } = await cli.run(
    'send',
    '--to',
    'acme',
    '--smtp',
    server.endpoint,
    'order.pdf',
    'oder.pdf',
    'folder',
  );
  assert.equal(code, 2);
  assert.equal(
    stderr,
    'error: there is no file oder.pdf; nothing was sent\nerror: folder is not a file; nothing was sent\n',
  );
  assert.deepEqual(server.mails, []);
});

test('a message that FAILED ends with 1 and its reason', async (t) => {
  const server = await smtpServer(t, `2.0.0 accepted ${id}`);
  const { cli } = await sender(t, {}, { status: 'FAILED', error: { code: 'mime-limit', message: 'too deep' } });
  const { code, stderr } = await cli.run('send', '--to', 'acme', '--smtp', server.endpoint, 'order.pdf');
  assert.equal(code, 1);
  assert.match(stderr, /error: message 01890a5d.* FAILED: \{"code":"mime-limit","message":"too deep"\}\n$/);
});

test('a message that stays under way ends with 1 at the deadline and says what to look at', async (t) => {
  const server = await smtpServer(t, `2.0.0 accepted ${id}`);
  const { cli } = await sender(t, { followDeadlineMs: 300 }, { status: 'RECEIVED' });
  const { code, stderr } = await cli.run('send', '--to', 'acme', '--smtp', server.endpoint, 'order.pdf');
  assert.equal(code, 1);
  assert.match(stderr, /still RECEIVED .* the mail is safe\.\n.*worker.*\/readyz.*\n.*messages show 01890a5d/);
});

test('a message that is in another database is told as such, at once', async (t) => {
  const server = await smtpServer(t, `2.0.0 accepted ${id}`);
  const { cli } = await sender(t, { followDeadlineMs: 3_600_000 });
  const { code, stderr } = await cli.run('send', '--to', 'acme', '--smtp', server.endpoint, 'order.pdf');
  assert.equal(code, 1);
  assert.match(stderr, /does not have it:\nerror: give this command the DATABASE_URL or DATA_DIR of the server\n$/);
});

test('a mail that was accepted where there is no database to follow it in is done: 0, and why it is not followed', async (t) => {
  const server = await smtpServer(t, `2.0.0 accepted ${id}`);
  const compose = { openToolbox: () => Promise.reject(new TestNoDatabaseError('no database in /d/postgres')) };
  const { cli } = await sender(t, { compose });
  const plain = await cli.run('send', '--to', 'acme', '--smtp', server.endpoint, 'order.pdf');
  assert.deepEqual([plain.code, plain.stderr], [0, 'not followed: no database in /d/postgres\n']);
  assert.match(plain.stdout, new RegExp(`^250 .*accepted ${id}\n$`));
  const json = await cli.run('send', '--json', '--to', 'acme', '--smtp', server.endpoint, 'order.pdf');
  assert.deepEqual([json.code, json.stderr], [0, 'not followed: no database in /d/postgres\n']);
  const { smtp_reply: reply, ...rest } = JSON.parse(json.stdout);
  assert.match(reply, /accepted/);
  assert.deepEqual(rest, { followed: false, messages: [] });
});

test('a reply that names no message is printed, and there the work ends', async (t) => {
  const server = await smtpServer(t, 'OK: queued');
  const { cli } = await sender(t, {});
  const { code, stdout, stderr } = await cli.run('send', '--to', 'acme', '--smtp', server.endpoint, 'order.pdf');
  assert.equal(code, 0);
  assert.match(stdout, /^250 .*queued\n$/);
  assert.equal(stderr, 'not followed: the reply names no message\n');
});

test('a mail kept aside is followed as itself, and its message named', async (t) => {
  const server = await smtpServer(t, `2.0.0 accepted ${id}`);
  const other = '01890a5d-ac96-774b-bcce-b302099a8099';
  const { cli } = await sender(t, {}, { status: 'CONFLICT', conflictWith: other });
  const { code, stdout, stderr } = await cli.run('send', '--to', 'acme', '--smtp', server.endpoint, 'order.pdf');
  assert.equal(code, 0);
  assert.match(stdout, /^250 .*\n$/);
  assert.equal(
    stderr,
    `CONFLICT\nkept aside as ${id}: another mail, ${other}, has the same Message-ID. It is not read\n`,
  );
});
