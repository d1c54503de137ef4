import assert from 'node:assert/strict';
import { PassThrough } from 'node:stream';
import { test } from 'node:test';
import type { RetryRequest } from '../ports/message-retries.ts';
import type { MessageFilter, MessageView } from '../ports/message-view.ts';
import { createOutput } from './output.ts';
import { createMemoryToolbox, createTestCli, messageView } from './test-context.ts';

const hostile = 'Order \u001b]0;pwned\u0007\u009b2J\r\n\u202efdp.exe';
const conflictId = '01890a5d-ac96-774b-bcce-b302099a8099';
const message = messageView({
  subject: hostile,
  fromEmail: `${hostile}@example.com`,
  headerFrom: hostile,
  documentCount: 1,
  error: { code: 'x', message: hostile },
  notes: [{ code: 'base64-cut', part: '1', text: `${hostile}: base64 that stops in the middle` }],
  reversePath: `${hostile}@bounce.example.com`,
  parts: [{ path: '1', media_type: 'application/pdf', file_name: hostile, decision: 'document', reason: 'attachment' }],
  documents: [
    {
      id: '01890a5d-ac96-774b-bcce-b302099a8001',
      partPath: '1',
      fileName: hostile,
      mimeType: 'application/pdf',
      declaredMimeType: hostile,
      sizeBytes: 3,
      sha256: 'cc',
      storageKey: 'org/2026/01/doc.pdf',
      status: 'STORED',
      error: null,
    },
  ],
  conflicts: [
    {
      id: conflictId,
      fromEmail: hostile,
      subject: hostile,
      rawStorageKey: 'org/2026/01/other.eml',
      contentSha256: 'dd',
      receivedAt: new Date('2026-01-03T00:00:00Z'),
    },
  ],
});

const objects = new Map([
  ['org/2026/01/raw.eml', Buffer.from(`Subject: Grüße ${hostile}\r\n\r\n\u0000\u00ff`)],
  ['org/2026/01/other.eml', Buffer.from('other')],
]);

const keptAside = messageView({
  id: conflictId,
  status: 'CONFLICT',
  conflictWith: message.id,
  rawStorageKey: 'org/2026/01/other.eml',
  subject: 'the other',
  remoteAddress: null,
  heloName: null,
  reversePath: null,
  parserVersion: null,
  parts: null,
  notes: null,
});

function cli(options: { terminal?: boolean; messages?: readonly ReturnType<typeof messageView>[] } = {}) {
  const toolbox = createMemoryToolbox({ messages: options.messages ?? [message, keptAside], objects });
  return createTestCli({ compose: { openToolbox: async () => toolbox }, terminal: options.terminal ?? false });
}

const dangerous = /[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u200b-\u200f\u202a-\u202e\u2066-\u2069]/;

test('what a sender wrote reaches the terminal as harmless text, in lists and in detail', async () => {
  for (const args of [['list'], ['show', message.id], ['list', '--json'], ['show', message.id, '--json']]) {
    const { code, stdout } = await cli({ terminal: true }).run('messages', ...args);
    assert.equal(code, 0);
    assert.match(stdout, /pwned/);
    assert.doesNotMatch(stdout, dangerous, args.join(' '));
  }
});

test('a list has one line per message', async () => {
  const { stdout } = await cli({ messages: [message] }).run('messages', 'list');
  assert.equal(stdout.trimEnd().split('\n').length, 2);
  assert.match(
    stdout,
    /^received .*\n2026-01-02T03:04:05\.000Z {2}PARSED +acme .* 01890a5d-ac96-774b-bcce-b302099a8057\n$/,
  );
});

test('JSON says everything, unchanged, under the names of the tables', async () => {
  const [listed] = JSON.parse((await cli().run('messages', 'list', '--json')).stdout);
  assert.deepEqual(listed, {
    id: message.id,
    org_id: message.orgId,
    org_slug: 'acme',
    status: 'PARSED',
    conflict_with: null,
    source_message_id: '<1@example.com>',
    from_email: `${hostile}@example.com`,
    to_email: 'orders+acme@orderflow.example.com',
    subject: hostile,
    received_at: '2026-01-02T03:04:05.000Z',
    size_bytes: 1234,
    document_count: 1,
    notes: message.notes,
  });
  const shown = JSON.parse((await cli().run('messages', 'show', message.id, '--json')).stdout);
  assert.equal(shown.subject, hostile);
  assert.equal(shown.documents[0].file_name, hostile);
  assert.equal(shown.documents[0].sha256, 'cc');
  assert.deepEqual(shown.parts_json, message.parts);
  assert.deepEqual(shown.notes, message.notes);
  assert.equal(shown.reverse_path, message.reversePath);
  assert.equal(shown.parser_version, 1);
  assert.equal(shown.conflicts[0].id, conflictId);
});

test('lists are filtered by status and organisation, and say when there may be more', async () => {
  const toolbox = createMemoryToolbox({ messages: [message, messageView({ status: 'FAILED' })] });
  const { run } = createTestCli({ compose: { openToolbox: async () => toolbox } });
  assert.equal(JSON.parse((await run('messages', 'list', '--json', '--status', 'failed')).stdout).length, 1);
  assert.match((await run('messages', 'list', '--limit', '1')).stderr, /the newest 1; --limit shows more/);
  const unknown = await run('messages', 'list', '--org', 'nobody');
  assert.equal(unknown.code, 1);
  assert.match(unknown.stderr, /no organisation "nobody"/);
});

test('every part of the mail is shown with what became of it and why', async () => {
  const { stdout } = await cli().run('messages', 'show', message.id);
  assert.match(stdout, /\npart +type +decision +file +reason\n1 +application\/pdf +document +Order .* attachment\n/);
});

test('a list counts what is noted on each message', async () => {
  const note = { code: 'base64-cut', part: '2', text: 'a.pdf: base64 that stops in the middle' };
  const more = { code: 'more', part: null, text: '7 more notes, not listed', detail: { count: 7 } };
  const count = async (notes: MessageView['notes']): Promise<string | undefined> => {
    const { stdout } = await cli({ messages: [messageView({ notes })] }).run('messages', 'list');
    const [header, row] = stdout.split('\n').map((line) => line.split(/ {2,}/));
    return row?.[header?.indexOf('notes') ?? -1];
  };
  assert.equal(await count(null), '-');
  assert.equal(await count([]), '-');
  assert.equal(await count([note, { ...note, part: '3' }]), '2');
  assert.equal(await count([...Array.from({ length: 49 }, () => note), more]), '56');
});

test('the notes of a message are shown in words, the mail itself as such', async () => {
  const notes = [
    { code: 'multipart-not-closed', part: null, text: 'a multipart without its closing boundary' },
    { code: 'base64-cut', part: '2.1', text: 'order.pdf: base64 that stops in the middle' },
  ];
  const show = async (view: Partial<MessageView>): Promise<string> =>
    (await cli({ messages: [messageView(view)] }).run('messages', 'show', messageView().id)).stdout;
  assert.match(
    await show({ notes }),
    new RegExp(
      '\n\nnotes\nwhere +code +what\n' +
        'mail +multipart-not-closed +a multipart without its closing boundary\n' +
        'part 2\\.1 +base64-cut +order\\.pdf: base64 that stops in the middle\n\n',
    ),
  );
  for (const none of [[], null]) assert.doesNotMatch(await show({ notes: none }), /notes/);
});

test('a FAILED message says why in words; what has no words is shown as it is', async () => {
  const show = async (error: unknown): Promise<string> =>
    (await cli({ messages: [messageView({ status: 'FAILED', error })] }).run('messages', 'show', messageView().id))
      .stdout;
  const failure = { code: 'no-part-readable', message: 'the mail says it has parts, but none could be found in it' };
  assert.match(
    await show(failure),
    /\nfailed {8}the mail says it has parts, but none could be found in it \(no-part-readable\)\n/,
  );
  assert.match(await show({ odd: 1 }), /\nfailed {8}\{"odd":1\}\n/);
  assert.match(await show('text'), /\nfailed {8}"text"\n/);
  assert.doesNotMatch(await show(null), /\n(failed|error) /);
});

test('the reverse-path is shown where it is not what from says', async () => {
  const line = async (view: Partial<MessageView>): Promise<string | undefined> => {
    const { stdout } = await cli({ messages: [messageView(view)] }).run('messages', 'show', messageView().id);
    return /^reverse path +(.*)$/m.exec(stdout)?.[1];
  };
  assert.equal(await line({ fromEmail: 'Buyer@example.com', reversePath: 'buyer@Example.com' }), undefined);
  assert.equal(await line({ fromEmail: 'buyer@example.com', reversePath: 'bounce@example.com' }), 'bounce@example.com');
  assert.equal(await line({ reversePath: null }), '<>, or not recorded');
  assert.equal(await line({ reversePath: null, parserVersion: null, status: 'RECEIVED' }), '<>, or not recorded');
  assert.equal(await line({ reversePath: null, parserVersion: null, status: 'PARSED' }), undefined);
});

test('an empty list is empty JSON, and a word on stderr otherwise', async () => {
  const empty = cli({ messages: [] });
  assert.equal((await empty.run('messages', 'list', '--json')).stdout, '[]\n');
  assert.deepEqual(await empty.run('messages', 'list').then(({ code, stdout, stderr }) => [code, stdout, stderr]), [
    0,
    '',
    'no message yet: send mails one\n',
  ]);
  const filtered = await empty.run('messages', 'list', '--status', 'FAILED');
  assert.deepEqual([filtered.code, filtered.stdout, filtered.stderr], [0, '', 'no such message\n']);
});

test('an unknown id ends with 1', async () => {
  for (const what of ['show', 'raw']) {
    const { code, stderr, stdout } = await cli().run('messages', what, '01890a5d-ac96-774b-bcce-b302099a8000');
    assert.equal(code, 1);
    assert.equal(stdout, '');
    assert.match(stderr, /^error: no message 01890a5d/);
  }
});

test('retry: one or all that are FAILED, said on stderr, ids on stdout; why not where there is nothing to put back', async () => {
  const failed = messageView({ status: 'FAILED', error: { code: 'object-missing', message: 'gone' } });
  const asked: RetryRequest[] = [];
  const toolbox = {
    ...createMemoryToolbox({ messages: [failed, message] }),
    retries: {
      async retry(request: RetryRequest) {
        asked.push(request);
        return request.reason === 'gave-up' ? [] : [failed.id];
      },
    },
  };
  const { run } = createTestCli({ compose: { openToolbox: async () => toolbox } });
  const one = await run('messages', 'retry', failed.id);
  assert.deepEqual(
    [one.code, one.stdout, one.stderr],
    [0, `${failed.id}\n`, '1 put back: RECEIVED, to be read again\n'],
  );
  assert.match(asked[0]?.actor ?? '', /^cli/);
  const all = await run('messages', 'retry', '--failed', '--reason', 'Object-Missing', '--json');
  assert.deepEqual(JSON.parse(all.stdout), { retried: 1, ids: [failed.id] });
  assert.deepEqual([asked[1]?.id, asked[1]?.reason], [undefined, 'object-missing']);
  const none = await run('messages', 'retry', '--failed', '--reason', 'gave-up');
  assert.deepEqual([none.code, none.stdout, none.stderr], [0, '', 'no such message is FAILED\n']);
  for (const wrong of [[], [failed.id, '--failed'], ['no-id'], ['--failed', '--reason', 'two words']]) {
    const { code, stderr } = await run('messages', 'retry', ...wrong);
    assert.equal(code, 2, stderr);
  }
  assert.equal((await run('messages', 'retry', '--failed', '--org', 'nobody')).code, 1);
  const parsed = createMemoryToolbox({ messages: [messageView()] });
  const other = createTestCli({
    compose: { openToolbox: async () => ({ ...parsed, retries: { retry: async () => [] } }) },
  });
  const whyNot = await other.run('messages', 'retry', message.id);
  assert.deepEqual(
    [whyNot.code, whyNot.stderr],
    [1, `error: message ${message.id} is PARSED: only one that is FAILED is put back\n`],
  );
  const aside = createMemoryToolbox({ messages: [keptAside] });
  const ofConflict = createTestCli({
    compose: { openToolbox: async () => ({ ...aside, retries: { retry: async () => [] } }) },
  });
  assert.match(
    (await ofConflict.run('messages', 'retry', conflictId)).stderr,
    /kept aside, which is not read: it meets/,
  );
});

test('a mail kept aside is in the list with the message it meets, and is shown as itself', async () => {
  const { stdout } = await cli().run('messages', 'list', '--conflicts');
  assert.match(
    stdout,
    new RegExp(`^received .* conflict with\\n2026\\S+ {2}CONFLICT .*the other +${conflictId} {2}${message.id}\\n$`),
  );
  const shown = (await cli().run('messages', 'show', conflictId)).stdout;
  assert.match(shown, new RegExp(`^id +${conflictId}\\nstatus +CONFLICT\\nconflict with +${message.id}\\n`));
  assert.match(shown, /subject +the other\n/);
  assert.match(shown, /\n\nkept aside, and not read: /);
  assert.doesNotMatch(shown, /no documents|^client|reverse path/m);
  assert.equal(
    JSON.parse((await cli().run('messages', 'show', conflictId, '--json')).stdout).conflict_with,
    message.id,
  );
  assert.equal((await cli().run('messages', 'list', '--conflicts', '--status', 'FAILED')).code, 2);
});

test('every filter reaches the question; what cannot be one is refused with what would be', async () => {
  const asked: MessageFilter[] = [];
  const toolbox = createMemoryToolbox();
  const listMessages = async (filter: MessageFilter) => {
    asked.push(filter);
    return [];
  };
  const messages = { ...toolbox.messages, listMessages };
  const { run } = createTestCli({ compose: { openToolbox: async () => ({ ...toolbox, messages }) } });
  const given =
    '--from a --to b --subject c --file d --since 2026-03-01T10:00Z --until 2026-03-02T10:00Z --no-documents';
  const { code, stderr } = await run('messages', 'list', ...given.split(' '), '--document-status', 'stored');
  assert.deepEqual([code, stderr], [0, 'no such message\n']);
  assert.deepEqual(asked[0], {
    limit: 50,
    from: 'a',
    to: 'b',
    subject: 'c',
    file: 'd',
    since: new Date('2026-03-01T10:00Z'),
    until: new Date('2026-03-02T10:00Z'),
    documentStatus: 'STORED',
    noDocuments: true,
    orgId: undefined,
    status: undefined,
  });
  await run('messages', 'list');
  assert.equal(asked[1]?.noDocuments, false);
  for (const wrong of [
    ['--since', 'soon'],
    ['--document-status', 'GONE'],
    ['--from', ' '],
  ])
    assert.equal((await run('messages', 'list', ...wrong)).code, 2, wrong.join(' '));
});

test('raw gives a file or pipe every byte as it was received, also of a mail kept aside', async () => {
  assert.deepEqual((await cli().run('messages', 'raw', message.id)).bytes, objects.get('org/2026/01/raw.eml'));
  assert.equal((await cli().run('messages', 'raw', conflictId)).stdout, 'other');
});

test('raw gives a terminal the lines without escape sequences', async () => {
  const { stdout } = await cli({ terminal: true }).run('messages', 'raw', message.id);
  assert.match(stdout, /^Subject: Grüße Order \\u\{1b\}/);
  assert.doesNotMatch(stdout.replaceAll('\r\n', '\n'), dangerous);
});

test('a raw mail that is gone from the store is told as such', async () => {
  const lost = messageView({ rawStorageKey: 'org/2026/01/gone.eml' });
  const { code, stderr } = await cli({ messages: [lost] }).run('messages', 'raw', lost.id);
  assert.equal(code, 1);
  assert.equal(stderr, 'error: the raw mail org/2026/01/gone.eml is missing from the object store\n');
});

test('output whose reader has gone is dropped quietly', async () => {
  const stream = new PassThrough();
  const output = createOutput(stream);
  stream.destroy(Object.assign(new Error('write EPIPE'), { code: 'EPIPE' }));
  await output.line('nobody reads this');
  await output.json({ nor: 'this' });
  assert.ok(output.broken);
});
