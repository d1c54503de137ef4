import assert from 'node:assert/strict';
import { test } from 'node:test';
import { converse, openDialogue } from './testing/engine-dialogue.ts';
import { refusals } from './testing/refusals.ts';
import { splitAt } from './testing/segments.ts';

const wire = (lines: readonly string[]) => Buffer.from(lines.map((line) => `${line}\r\n`).join(''), 'latin1');
const opening = ['EHLO c.example', 'MAIL FROM:<a@b.example>', 'RCPT TO:<c@d.example>'];
const ready = '220 2.0.0 Ready to start TLS';

test('STARTTLS is offered where it is configured, and no longer once it is on', () => {
  assert.ok(!converse([wire(['EHLO x'])]).some((line) => line.includes('STARTTLS')));
  for (const tls of ['offered', 'required'] as const) {
    const dialogue = openDialogue({ tls });
    dialogue.send(wire(['EHLO x']));
    assert.equal(dialogue.log.at(-1), '250 STARTTLS');
    dialogue.send(wire(['STARTTLS']));
    assert.deepEqual(dialogue.log.slice(-2), [ready, 'handshake']);
    dialogue.engine.tlsStarted();
    dialogue.send(wire(['EHLO x']));
    assert.equal(dialogue.log.at(-1), '250 ENHANCEDSTATUSCODES');
    dialogue.send(wire(['STARTTLS']));
    assert.equal(dialogue.log.at(-1), '503 5.5.1 Bad sequence of commands');
  }
});

test('STARTTLS that is not offered is unknown; with an argument, or in a transaction, it is refused', () => {
  assert.match(converse([wire(['EHLO x', 'STARTTLS'])]).at(-1) ?? '', /^500 5\.5\.2/);
  assert.match(converse([wire(['EHLO x', 'STARTTLS now'])]).at(-1) ?? '', /^500 5\.5\.2/);
  assert.match(converse([wire(['EHLO x', 'STARTTLS now'])], { tls: 'offered' }).at(-1) ?? '', /^501 5\.5\.4/);
  const dialogue = openDialogue({ tls: 'offered' });
  dialogue.send(wire([...opening, 'STARTTLS']));
  assert.match(dialogue.log.at(-1) ?? '', /^503 5\.5\.1/);
  dialogue.send(wire(['DATA', 'x', '.']));
  assert.equal(dialogue.log.at(-1), '250 2.0.0 m1');
});

test('what is said in the clear behind STARTTLS never runs, in any segmentation', () => {
  const injected = ['EHLO evil', 'MAIL FROM:<evil@x>', 'RCPT TO:<victim@x>', 'DATA', 'bad', '.', 'QUIT', 'half a li'];
  const bytes = wire(['EHLO c.example', 'STARTTLS', ...injected]);
  const cuts = [[bytes], splitAt(bytes, [...bytes.keys()]), ...[...bytes.keys()].map((cut) => splitAt(bytes, [cut]))];
  for (const segments of cuts) {
    const dialogue = openDialogue({ tls: 'offered' });
    for (const segment of segments) dialogue.send(segment);
    assert.deepEqual(dialogue.log.slice(-2), [ready, 'handshake']);
    assert.equal(dialogue.engine.bufferedBytes, 0);
    assert.equal(dialogue.engine.midCommand, false);
    dialogue.engine.tlsStarted();
    assert.equal(dialogue.engine.heloName, null);
    dialogue.send(wire(['NOOP']));
    assert.deepEqual(dialogue.log.slice(-2), ['handshake', '250 2.0.0 OK']);
  }
});

test('after the handshake all is forgotten: EHLO comes first again, and without it no SMTPUTF8', () => {
  const dialogue = openDialogue({ tls: 'offered' });
  dialogue.send(wire(['EHLO c.example', 'STARTTLS']));
  dialogue.engine.tlsStarted();
  dialogue.send(wire(['MAIL FROM:<a@b>']));
  assert.match(dialogue.log.at(-1) ?? '', /^503 5\.5\.1/);
  dialogue.send(wire(['HELO c.example', 'MAIL FROM:<a@b> SMTPUTF8']));
  assert.match(dialogue.log.at(-1) ?? '', /^555 5\.5\.4/);
});

test('STARTTLS behind commands that are still being answered waits for them, and then drops what follows', () => {
  const dialogue = openDialogue({
    tls: 'offered',
    answersAtOnce: false,
    answer: () => ({ refusal: refusals['sender-blocked'] }),
  });
  dialogue.send(wire(['EHLO x', 'MAIL FROM:<a@b>', 'STARTTLS', 'MAIL FROM:<evil@x>']));
  assert.equal(dialogue.log.at(-1), 'begin a@b');
  dialogue.settle();
  assert.deepEqual(dialogue.log.slice(-3), ['550 5.7.1 Sender not accepted', ready, 'handshake']);
});

test('where TLS is required, mail is refused until it is on; the rest of the session is not', () => {
  const dialogue = openDialogue({ tls: 'required' });
  dialogue.send(wire(['NOOP', ...opening, 'DATA']));
  const refusal = '530 5.7.0 Must issue a STARTTLS command first';
  assert.deepEqual(dialogue.log.slice(-3), [refusal, refusal, refusal]);
  dialogue.send(wire(['NOOP', 'STARTTLS']));
  assert.deepEqual(dialogue.log.slice(-3), ['250 2.0.0 OK', ready, 'handshake']);
  dialogue.engine.tlsStarted();
  dialogue.send(wire([...opening, 'DATA', 'x', '.']));
  assert.equal(dialogue.log.at(-1), '250 2.0.0 m1');
});

test('a mail sent behind a DATA that wants TLS first closes the session instead of running as commands', () => {
  const log = converse([wire([...opening, 'DATA', 'Subject: x', '', 'RSET', '.'])], { tls: 'required' });
  assert.deepEqual(log.slice(-2), ['530 5.7.0 Must issue a STARTTLS command first', 'close']);
});

test('STARTTLS from a client that has ended its input goes nowhere', () => {
  const dialogue = openDialogue({ tls: 'offered', answersAtOnce: false });
  dialogue.send(wire(['EHLO x', 'MAIL FROM:<a@b>', 'RSET', 'STARTTLS']));
  dialogue.engine.endOfInput();
  dialogue.settle();
  assert.deepEqual(dialogue.log.slice(-2), [ready, 'close']);
});

test('a shutdown during the handshake is told as soon as something can be told', () => {
  const dialogue = openDialogue({ tls: 'offered' });
  dialogue.send(wire(['EHLO x', 'STARTTLS']));
  dialogue.engine.shutdown();
  assert.equal(dialogue.log.at(-1), 'handshake');
  dialogue.engine.tlsStarted();
  assert.deepEqual(dialogue.log.slice(-2), ['421 4.3.2 Service shutting down, try again later', 'close']);
});
