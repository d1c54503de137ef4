/** What a Postfix as Debian ships it takes of a bent dialogue, we take too; each exception is named, and why. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { missing } from '../../src/testing/missing.ts';
import { connectSmtp } from '../../src/testing/smtp-client.ts';
import { startIngest } from './support/ingest.ts';
import { ODD_DIALOGUES, OUR_ADDRESS } from './support/odd-dialogues.ts';
import { POSTFIX, startPostfix } from './support/postfix.ts';

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

/** It throws away the mail of our domain. */
const SETTINGS = [
  'virtual_mailbox_domains = orderflow.example.com',
  'virtual_mailbox_maps = static:all',
  'virtual_transport = discard:',
  'default_transport = discard:',
];

test('what Postfix takes of odd but honest senders, we take', async (t) => {
  if (POSTFIX === null) return missing(t, 'postfix', 'apt-get install postfix');
  if (process.getuid?.() !== 0) return t.skip('only root can start Postfix');
  const [ingest, { port: peer }] = await Promise.all([startIngest(t), startPostfix(t, { settings: SETTINGS })]);
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
