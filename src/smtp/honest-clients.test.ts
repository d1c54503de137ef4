/** Dialogues that bend RFC 5321, as devices and programs of real senders hold them: each is taken. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { maxCommandLineBytes } from './limits.ts';
import { assertInEverySegmentation, converse } from './testing/engine-dialogue.ts';
import { type RunningServer, startServer } from './testing/running-server.ts';

const wire = (...lines: readonly string[]) => Buffer.from(lines.map((line) => `${line}\r\n`).join(''), 'latin1');
const utf8 = (text: string) => Buffer.from(text).toString('latin1');

/** Of the dialogue that begins with EHLO or HELO, without what was said to that. */
function assertTaken(lines: readonly string[], expected: readonly string[]): void {
  const hello = converse([wire(lines[0] ?? '')]).slice(1);
  assertInEverySegmentation(wire(...lines), [...hello, ...expected]);
}

async function mailFrom(running: RunningServer, hello: string | Buffer): Promise<string | null | undefined> {
  const client = await running.connect();
  await client.expect('220');
  client.send(hello);
  client.send('\r\n');
  await client.expect('250');
  await client.say('MAIL FROM:<a@b.example>', '250');
  client.destroy();
  return running.receiver.mails.at(-1)?.session.heloName;
}

test('any printable EHLO or HELO name is taken, and recorded as sent', async (t) => {
  const running = await startServer(t);
  const names = [
    'my scanner',
    'CORP\\PC01',
    'büro-pc',
    '<x>',
    '(none)',
    '"',
    'a@b',
    '-',
    '.',
    'a..b',
    'srv_01',
    '[192.0.2.1',
    '[300.1.1.1]',
    'two  spaces',
    '訂單',
    '💌',
    'x'.repeat(maxCommandLineBytes - 'EHLO \r\n'.length),
  ];
  for (const name of names)
    for (const verb of ['EHLO', 'HELO', 'ehlo '])
      if (verb.length + name.length <= 505) assert.equal(await mailFrom(running, `${verb} ${name} \t`), name, name);
  assert.equal(await mailFrom(running, 'EHLO\tscanner'), 'scanner');
});

test('a name in a code page is taken; what no letter can be made of is replaced', async (t) => {
  const running = await startServer(t);
  assert.equal(await mailFrom(running, Buffer.from('EHLO b\xfcro-pc', 'latin1')), 'büro-pc');
  assert.equal(await mailFrom(running, Buffer.from('HELO \x80uro', 'latin1')), '€uro');
  assert.equal(await mailFrom(running, Buffer.from('HELO b\x81ro', 'latin1')), 'b\ufffdro');
});

test('HELO needs no name, EHLO does', async (t) => {
  const running = await startServer(t);
  for (const hello of ['HELO', 'helo ', 'HELO \t']) assert.equal(await mailFrom(running, hello), '', hello);
  const client = await running.connect();
  await client.expect('220');
  await client.say('EHLO', '501 5.5.4');
  await client.say('EHLO \t', '501 5.5.4');
  await client.say('MAIL FROM:<a@b>', '503 5.5.1');
});

test('a name cannot write a reply of its own: no character of it becomes a line end on the wire', async (t) => {
  const running = await startServer(t);
  const client = await running.connect();
  await client.expect('220');
  // Written as latin1, the low octets of these are CR LF and a space.
  const greeting = await client.say('EHLO x\u010d\u010a250 \u0120ok\u2028', '250');
  assert.match(greeting, /^250-mx\.example greets x\?\?250 \?ok\?\n250-PIPELINING\n/);
  for (const line of greeting.split('\n')) assert.match(line, /^250[- ][\x20-\x7e]{0,508}$/);
  await client.say('NOOP', '250 2.0.0 OK');
  const long = await client.say(`EHLO ${'y'.repeat(505)}`, '250');
  for (const line of long.split('\n')) assert.ok(line.length <= 510, line);
  client.destroy();
});

test('a name with control characters is no name', () => {
  for (const control of ['\0', '\x01', '\x1b', '\x7f', utf8('\u0085'), '\t.\t'])
    for (const verb of ['EHLO', 'HELO'])
      assert.match(converse([wire(`${verb} a${control}b`)]).at(-1) ?? '', /^501 5\.5\.4/, JSON.stringify(control));
});

test('parameters of DSN and AUTH are read over, whatever their values', () => {
  assertTaken(
    [
      'EHLO c.example',
      'MAIL FROM:<a@b.example> RET=HDRS ENVID=QQ314159 AUTH=<> SIZE=10 BODY=8BITMIME',
      'RCPT TO:<c@d.example> NOTIFY=SUCCESS,FAILURE,DELAY ORCPT=rfc822;c+2Bx@d.example',
      'RCPT TO:<c@d.example> notify=never orcpt=rfc822;prvs=1@d.example',
      'RSET',
      'MAIL FROM:<> ret=full ENVID= AUTH=e+3Dmc2@example.com',
    ],
    [
      'begin a@b.example',
      '250 2.1.0',
      ...['recipient c@d.example', '250 2.1.5', 'recipient c@d.example', '250 2.1.5'],
      'abandon reset',
      '250 2.0.0',
      'begin <>',
      '250 2.1.0',
    ],
  );
  assertTaken(
    ['EHLO c.example', 'MAIL FROM:<a@b> SMTPUTF8', utf8('RCPT TO:<ä@b> ORCPT=utf-8;ä@b')],
    ['begin a@b', '250 2.1.0', 'recipient ä@b', '250 2.1.5'],
  );
});

test('a line that these parameters make long is taken', () => {
  const parameters = `RET=HDRS ENVID=${'e'.repeat(100)} AUTH=${'u'.repeat(495)} SIZE=${'0'.repeat(19)}1 BODY=8BITMIME`;
  const recipient = `${'r'.repeat(250)}@${Array(4).fill('d'.repeat(60)).join('.')}`;
  assertTaken(
    [
      'EHLO c.example',
      `MAIL FROM:<${recipient}> ${parameters}`,
      `RCPT TO:<${recipient}> NOTIFY=SUCCESS,FAILURE,DELAY ORCPT=rfc822;${'o'.repeat(487)}`,
    ],
    [`begin ${recipient}`, '250 2.1.0', `recipient ${recipient}`, '250 2.1.5'],
  );
});

test('SIZE and BODY count behind HELO as well', () => {
  assertTaken(
    [
      'HELO c.example',
      'MAIL FROM:<a@b> SIZE=26214401',
      'MAIL FROM:<a@b> SIZE=x',
      'MAIL FROM:<a@b> BODY=BINARYMIME',
      'MAIL FROM:<a@b> SIZE=10 BODY=8BITMIME RET=FULL',
      'RCPT TO:<c@d> NOTIFY=NEVER',
    ],
    ['552 5.3.4', '501 5.5.4', '555 5.5.4', 'begin a@b', '250 2.1.0', 'recipient c@d', '250 2.1.5'],
  );
});

test('unknown parameters, those of another command, and repeated ones stay refused', () => {
  assertTaken(
    [
      'EHLO c.example',
      ...['FOO=bar', 'NOTIFY=NEVER', 'ORCPT=rfc822;a@b', 'HOLDFOR=1', 'X', 'RETX=1'].map((p) => `MAIL FROM:<a@b> ${p}`),
      ...['AUTH=<> AUTH=<>', 'RET=a RET=b', 'RET=a\x01b', '=', 'RET=HDRS,'.replace(',', ' =')].map(
        (p) => `MAIL FROM:<a@b> ${p}`,
      ),
    ],
    [...Array(6).fill('555 5.5.4'), ...Array(5).fill('501 5.5.4')],
  );
  assertTaken(
    [
      'EHLO c.example',
      'MAIL FROM:<a@b>',
      ...['FOO=1', 'RET=HDRS', 'SIZE=1', 'AUTH=<>'].map((p) => `RCPT TO:<c@d> ${p}`),
    ],
    ['begin a@b', '250 2.1.0', ...Array(4).fill('555 5.5.4')],
  );
});

test('spaces and tabs stand after the verb, after the colon and before parameters', () => {
  assertTaken(
    [
      'EHLO  c.example',
      'MAIL  FROM: \t <a@b> \t SIZE=1 \t BODY=7BIT\t',
      'RCPT\tTO:\t<c@d>\t NOTIFY=NEVER ',
      'NOOP\t \tx',
      'VRFY \tx',
      'DATA \t',
      '.',
      'MAIL\t FROM:\ta@b\tSIZE=1',
      'RCPT  TO:c@d\t',
      'BDAT  3  LAST',
      'x\r\nRSET\t',
    ],
    [
      ...['begin a@b', '250 2.1.0', 'recipient c@d', '250 2.1.5', '250 2.0.0', '252 2.5.0', '354', 'body begins'],
      ...['body ends ""', '250 2.0.0 m1', 'begin a@b', '250 2.1.0', 'recipient c@d', '250 2.1.5', 'body begins'],
      ...['body ends "x\\r\\n"', '250 2.0.0 m1', '250 2.0.0 Reset'],
    ].filter((line) => line !== ''),
  );
});

test('white space anywhere else is refused', () => {
  const commands = [
    'MAIL FROM:< a@b>',
    'MAIL FROM:<a@b >',
    'MAIL FROM:<a @b>',
    'MAIL FROM:<\ta@b>',
    'MAIL FROM:<a@\tb>',
    'MAIL FROM:< >',
    'MAIL FROM :<a@b>',
    'MAIL FROM\t:<a@b>',
    'MAIL FR OM:<a@b>',
    'MAIL FROM:<a@b>\x0bSIZE=1',
    'MAIL FROM:<a@b>\x0cSIZE=1',
    utf8('MAIL\u00a0FROM:<a@b>'),
    utf8('MAIL FROM:\u00a0<a@b>'),
    'MAILFROM:<a@b>',
    ' MAIL FROM:<a@b>',
    '\tMAIL FROM:<a@b>',
    'MAIL FROM:<a@b>SIZE=1',
    'MAIL FROM:<a@b> SIZE = 1',
    'MAIL\rFROM:<a@b>',
    'MAIL FROM:<a@b>\rSIZE=1',
  ];
  for (const command of commands) {
    const log = converse([wire('EHLO c.example', command)]);
    assert.match(log.at(-1) ?? '', /^50[01] /, JSON.stringify(command));
  }
});

test('letters that only become ASCII in upper case make no verb and no parameter', () => {
  for (const [command, expected] of [
    ['RſET', /^500 5\.5\.2/],
    ['MAıL FROM:<a@b>', /^500 5\.5\.2/],
    ['ſTARTTLS', /^500 5\.5\.2/],
    ['MAIL FROM:<a@b> ſIZE=1', /^501 5\.5\.4/],
  ] as const) {
    const log = converse([wire('EHLO c.example', utf8(command))], { tls: 'offered' });
    assert.match(log.at(-1) ?? '', expected, command);
  }
});

test('addresses without angle brackets, with a dot at the end of the domain, and as docomo gave them', () => {
  assertTaken(
    [
      'EHLO c.example',
      'MAIL FROM:a@b.example SIZE=1',
      'RCPT TO: c@d.example',
      'RCPT TO:<c@d.example.>',
      'RCPT TO:c@d.example. NOTIFY=NEVER',
      'RCPT TO:postmaster',
      'RCPT TO:<POSTMASTER>',
      'RCPT TO:<a..b@docomo.example>',
      'RCPT TO:<a.@docomo.example>',
      'RCPT TO:c@d.example>',
      'RCPT TO:c@d.example,e@f.example',
      'RCPT TO:Buyer <c@d.example>',
      'RCPT TO:c',
      'RCPT TO:',
      'RSET',
      'MAIL FROM:<a..b.@docomo.example>',
    ],
    [
      ...[
        'begin a@b.example',
        '250 2.1.0',
        'recipient c@d.example',
        '250 2.1.5',
        'recipient c@d.example.',
        '250 2.1.5',
      ],
      ...[
        'recipient c@d.example.',
        '250 2.1.5',
        'recipient postmaster',
        '250 2.1.5',
        'recipient POSTMASTER',
        '250 2.1.5',
      ],
      ...Array(7).fill('501 5.1.3'),
      ...['abandon reset', '250 2.0.0', 'begin a..b.@docomo.example', '250 2.1.0'],
    ],
  );
});

test('a domain in UTF-8 needs SMTPUTF8, and reaches the receiver as A-labels', async (t) => {
  const domains: string[] = [];
  const running = await startServer(t, { recipient: ({ domain }) => void domains.push(domain) });
  const client = await running.connect();
  await client.expect('220');
  await client.say('EHLO c.example', '250');
  await client.say('MAIL FROM:<a@bücher.example>', '553 5.6.7');
  await client.say('MAIL FROM:<a@bücher.example> SMTPUTF8', '250');
  assert.equal(running.receiver.mails[0]?.mail.reversePath?.domain, 'xn--bcher-kva.example');
  assert.equal(running.receiver.mails[0]?.mail.reversePath?.address, 'a@bücher.example');
  await client.say('RCPT TO:<orders+acme@BÜCHER.example.>', '250');
  await client.say('RCPT TO:<orders+acme@xn--bcher-kva.example>', '250');
  for (const trap of [
    'orderflow%2eexample.com',
    'a/b.de',
    'orderflow．example．com',
    '１２７.0.0.1',
    'srv_1.bücher.example',
  ])
    await client.say(`RCPT TO:<orders+acme@${trap}>`, '501 5.1.3');
  await client.say('RCPT TO:<orders+acme@srv_1.example>', '250');
  assert.deepEqual(domains, ['xn--bcher-kva.example', 'xn--bcher-kva.example', 'srv_1.example']);
});

test('a command line of blanks costs no more than another', () => {
  const line = `MAIL FROM:<a@b>${' \t'.repeat(700)}x`;
  const lines = wire('EHLO c.example', ...Array(15).fill(line));
  const begun = performance.now();
  assert.equal(converse([lines]).filter((entry) => entry.startsWith('555')).length, 15);
  assert.ok(performance.now() - begun < 200);
});
