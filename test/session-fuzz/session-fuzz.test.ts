/** The short form of `npm run fuzz:session`, and the model by itself: a guard that never fires is none. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { createSecureContext } from 'node:tls';
import { makeCertificate, opensslProblem } from '../../src/testing/certificate.ts';
import { missing } from '../../src/testing/missing.ts';
import { describeFuzz } from './describe-fuzz.ts';
import { modelOptions } from './fuzzed-server.ts';
import { fuzzSessions, maxHeapGrowthBytes } from './session-fuzz.ts';
import { SessionModel } from './session-model.ts';

/** Some seconds. With one seed, so that a change is judged by what it changed. */
const lines = 30_000;
const seed = 1;

test('every command of 30,000 lines gets its one reply, and what was taken is what was sent', async (t) => {
  const openssl = opensslProblem();
  if (openssl !== null) return missing(t, 'openssl', openssl);
  const { certFile, keyFile } = await makeCertificate(t);
  const secureContext = createSecureContext({ cert: readFileSync(certFile), key: readFileSync(keyFile) });
  const report = await fuzzSessions({ seed, lines, secureContext });
  t.diagnostic(describeFuzz(report, seed));
  assert.equal(report.findings.length, 0, describeFuzz(report, seed));
  const names = ['new', 'greeted', 'mail', 'recipients', 'chunks', 'refused chunks', 'refused DATA'];
  for (const name of [...names, ...names.map((each) => `TLS ${each}`)])
    assert.ok((report.states.get(name) ?? 0) >= 20, `no ground was covered in the state ${name}`);
  assert.ok(report.mails >= 600, `only ${report.mails} mails were acknowledged`);
  const { early, late } = report.heapBytes;
  assert.ok(early > 0 && late - early < maxHeapGrowthBytes, `the heap grew from ${early} to ${late} bytes`);
});

/** Client and server in turn, the client first said nothing. Resolves to what the model objects to, or null. */
function objection(...turns: readonly string[]): string | null {
  const model = new SessionModel(modelOptions('tls'));
  try {
    for (const [index, bytes] of turns.entries()) {
      if (index % 2 === 1) model.received(bytes);
      else if (bytes === 'closes') model.closed();
      else model.sent(bytes);
    }
    return null;
  } catch (error) {
    return (error as Error).message;
  }
}

const greeting = ['', '220 mx.example ESMTP\r\n'];
const hello = [...greeting, 'EHLO c.example\r\n', '250 mx.example\r\n'];
const envelope = [...hello, 'MAIL FROM:<a@b.example>\r\nRCPT TO:<c@d.example>\r\n', '250 2.1.0 ok\r\n250 2.1.5 ok\r\n'];
const begun = [...envelope, 'DATA\r\n', '354 go\r\n'];

for (const [name, turns, problem] of [
  [
    'a whole session',
    [...begun, 'x\r\n.\r\n', '250 2.0.0 accepted 1\r\n', 'QUIT\r\n', '221 2.0.0 bye\r\n', 'closes'],
    null,
  ],
  ['two replies for a command', [...hello, 'NOOP\r\n', '250 2.0.0 ok\r\n250 2.0.0 ok\r\n'], /nobody asked for/],
  ['a reply that ends with a bare LF', [...hello, 'NOOP\r\n', '250 2.0.0 ok\n'], /bare LF/],
  ['a reply of 513 octets', [...hello, 'NOOP\r\n', `250 ${'x'.repeat(507)}\r\n`], /513 octets/],
  ['a bare LF that ends DATA', [...begun, 'x\n.\n', '250 2.0.0 accepted 1\r\n'], /nobody asked for/],
  ['a mail without an end', [...begun, 'x\r\n', '250 2.0.0 accepted 1\r\n'], /nobody asked for/],
  ['a good mail that is refused', [...begun, 'x\r\n.\r\n', '451 4.3.0 no\r\n'], /good mail was refused/],
  ['a chunk that has not come', [...envelope, 'BDAT 5 LAST\r\nfour', '250 2.0.0 accepted 1\r\n'], /nobody asked for/],
  [
    'RSET keeps the recipients',
    [...envelope, 'RSET\r\n', '250 2.0.0 ok\r\n', 'DATA\r\n', '354 go\r\n'],
    /must be refused/,
  ],
  ['mail before EHLO', [...greeting, 'MAIL FROM:<a@b.example>\r\n', '250 2.1.0 ok\r\n'], /must be refused/],
  ['a command with a bare LF is run', [...hello, 'NOOP\n', '250 2.0.0 ok\r\n'], /must be refused/],
  [
    'a malformed BDAT, and it goes on',
    [...hello, 'BDAT x\r\n', '501 5.5.4 no\r\n', 'NOOP\r\n', '250 2.0.0 ok\r\n'],
    /behind the last/,
  ],
  ['closed for nothing', [...hello, 'NOOP\r\n', '421 4.7.0 no\r\n'], /closed without a reason/],
  ['closed without a word', [...hello, 'closes'], /closed by the server/],
] as const)
  test(`the model: ${name}`, () => {
    const said = objection(...turns);
    if (problem === null) assert.equal(said, null);
    else assert.match(said ?? 'nothing', problem);
  });

test('the model: what was said in the clear counts for nothing behind TLS', () => {
  const model = new SessionModel(modelOptions('tls'));
  model.received('220 mx.example ESMTP\r\n');
  model.sent('STARTTLS\r\nEHLO evil.example\r\n');
  model.received('220 2.0.0 go\r\n');
  assert.ok(model.handshaking);
  model.encrypted();
  assert.equal(model.awaiting, false);
  assert.throws(() => model.received('250 mx.example\r\n'), /nobody asked for/);
});
