/** What a Postfix as Debian ships it takes of a bent dialogue, we take too; each exception is named, and why. */
import assert from 'node:assert/strict';
import { chmod, cp, mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { cleanUp } from '../../src/testing/clean-up.ts';
import { freePort } from '../../src/testing/free-port.ts';
import { missing } from '../../src/testing/missing.ts';
import { connectSmtp } from '../../src/testing/smtp-client.ts';
import { temporaryFolder } from '../../src/testing/temporary-folder.ts';
import { startIngest } from './support/ingest.ts';
import { ODD_DIALOGUES, OUR_ADDRESS } from './support/odd-dialogues.ts';
import { findProgram, run } from './support/programs.ts';

/** Postfix takes these, we do not: the line that is refused, and why. */
const REFUSED_ON_PURPOSE: Readonly<Record<string, string>> = {
  EHLO: 'RFC 5321 §4.1.1.1; a client that has no name says HELO next, which needs none here',
  'MAIL FROM:<buyer>': 'no domain: nobody could be answered, and Postfix adds its own',
  'MAIL FROM:< buyer@customer.example >': 'white space inside the brackets: part of the address, or not?',
  'MAIL FROM:buyer@customer.example>': 'half a pair of brackets: a line that may have been cut',
  'MAIL FROM:<buyer@customer.example>>': 'the same',
  [`RCPT TO:< ${OUR_ADDRESS} >`]: 'as for MAIL',
  'MAIL FROM:<buyer@customer.example>': 'no greeting before it (RFC 5321 §4.1.4)',
};

const POSTFIX = findProgram('postfix');

test('what Postfix takes of odd but honest senders, we take', async (t) => {
  if (POSTFIX === null) return missing(t, 'postfix', 'apt-get install postfix');
  if (process.getuid?.() !== 0) return t.skip('only root can start Postfix');
  const [ingest, peer] = await Promise.all([startIngest(t), startPostfix(t, POSTFIX)]);
  const refused: string[] = [];
  let taken = 0;
  for (const [index, dialogue] of ODD_DIALOGUES.entries()) {
    const [theirs, ours] = await Promise.all([converse(peer, dialogue, index), converse(ingest.port, dialogue, index)]);
    if (theirs.accepted) taken++;
    if (theirs.accepted && !ours.accepted) refused.push(ours.refused ?? dialogue.join(' | '));
  }
  assert.ok(taken > ODD_DIALOGUES.length / 2, `Postfix took ${taken}`);
  assert.deepEqual(refused, Object.keys(REFUSED_ON_PURPOSE));
});

interface Outcome {
  /** The mail, in the end. */
  readonly accepted: boolean;
  /** The first line that was. */
  readonly refused: string | undefined;
}

/** Errors: rejects at a 4xx, which says nothing of the dialogue. */
async function converse(port: number, dialogue: readonly string[], index: number): Promise<Outcome> {
  const client = await connectSmtp({ port });
  let refused: string | undefined;
  let { code } = await client.readReply();
  for (const line of dialogue) {
    await client.write(Buffer.from(`${line}\r\n`, 'latin1'));
    ({ code } = await client.readReply(line));
    assert.notEqual(Math.floor(code / 100), 4, line);
    if (code >= 500) refused ??= line;
  }
  if (code === 354) {
    await client.write(`Message-ID: <odd-${index}@customer.example>\r\nSubject: order\r\n\r\norder\r\n.\r\n`);
    ({ code } = await client.readReply());
  }
  client.close();
  return { accepted: code === 250, refused };
}

/** Its defaults, but for where it listens and keeps its queue, and that it throws away the mail of our domain. */
async function startPostfix(t: TestContext, program: string): Promise<number> {
  const folder = await temporaryFolder(t);
  const port = await freePort();
  const [etc, spool, lib] = [join(folder, 'etc'), join(folder, 'spool'), join(folder, 'lib')];
  await cp('/etc/postfix', etc, { recursive: true });
  for (const made of [spool, lib]) await mkdir(made);
  // Its daemons run as an account of their own.
  await chmod(folder, 0o755);
  const settings = [
    'compatibility_level = 3.6',
    `queue_directory = ${spool}`,
    `data_directory = ${lib}`,
    `maillog_file = ${join(folder, 'mail.log')}`,
    `maillog_file_prefixes = ${folder}`,
    'inet_interfaces = 127.0.0.1',
    'inet_protocols = ipv4',
    'myhostname = mx.example',
    'mydestination =',
    'virtual_mailbox_domains = orderflow.example.com',
    'virtual_mailbox_maps = static:all',
    'virtual_transport = discard:',
    'default_transport = discard:',
    // For our hundred connections, and what is refused of them.
    'smtpd_error_sleep_time = 0',
    'smtpd_client_connection_rate_limit = 0',
  ];
  await writeFile(join(etc, 'main.cf'), settings.map((line) => `${line}\n`).join(''));
  const master = (await readFile(join(etc, 'master.cf'), 'utf8'))
    .replace(/^smtp( +inet .*)$/m, `127.0.0.1:${port}$1`)
    // The fifth column: no chroot, whose files would be missing in this queue.
    .replace(/^(\S+ +(?:inet|unix) +\S+ +\S+ +)y/gm, '$1n');
  await writeFile(join(etc, 'master.cf'), master);
  await chownToPostfix(lib);
  const started = await run(program, ['-c', etc, 'start']);
  assert.equal(started.code, 0, started.stderr);
  cleanUp(t, async () => {
    const { code, stderr } = await run(program, ['-c', etc, 'stop']);
    assert.equal(code, 0, stderr);
  });
  return port;
}

async function chownToPostfix(folder: string): Promise<void> {
  const { code, stderr } = await run('chown', ['postfix', folder]);
  assert.equal(code, 0, stderr);
}
