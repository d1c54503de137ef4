import assert from 'node:assert/strict';
import { hash } from 'node:crypto';
import { test } from 'node:test';
import type { DocumentSummary } from '../ports/message-view.ts';
import { createMemoryToolbox, createTestCli } from './test-context.ts';

const bytes = Buffer.from('%PDF-1.7 \u0000\u001b ordered');
const document: DocumentSummary = {
  id: '01890a5d-ac96-574b-bcce-b302099a8001',
  orgId: '01890a5d-0000-7000-8000-000000000001',
  orgSlug: 'acme',
  messageId: '01890a5d-ac96-774b-bcce-b302099a8057',
  createdAt: new Date('2026-01-02T03:04:05Z'),
  partPath: '2',
  fileName: 'order\u202efdp.exe',
  mimeType: 'application/pdf',
  declaredMimeType: null,
  sizeBytes: bytes.length,
  sha256: hash('sha256', bytes),
  storageKey: 'org/2026/01/doc.pdf',
  status: 'STORED',
  error: null,
};

function cli(over: Partial<DocumentSummary> = {}, terminal = false) {
  const objects = new Map([['org/2026/01/doc.pdf', bytes]]);
  const toolbox = createMemoryToolbox({ documents: [{ ...document, ...over }], objects });
  return createTestCli({ compose: { openToolbox: async () => toolbox }, terminal });
}

test('documents are listed, their names made harmless, and as JSON', async () => {
  const { stdout } = await cli().run('documents', 'list');
  assert.match(
    stdout,
    /^stored .*\n2026-01-02T03:04:05\.000Z {2}STORED {2}acme .*order\\u\{202e\}fdp\.exe .*8057 {2}\S+8001\n$/,
  );
  const [listed] = JSON.parse((await cli().run('documents', 'list', '--json')).stdout);
  assert.deepEqual([listed.id, listed.inbound_message_id, listed.org_slug], [document.id, document.messageId, 'acme']);
});

test('get writes every byte to a file or pipe, and none to a terminal', async () => {
  assert.deepEqual((await cli().run('documents', 'get', document.id)).bytes, bytes);
  const onTerminal = await cli({}, true).run('documents', 'get', document.id);
  assert.deepEqual([onTerminal.code, onTerminal.stdout], [1, '']);
  assert.match(onTerminal.stderr, /not for a terminal: documents get \S+ > FILE/);
});

test('get says what is wrong: no such id, no bytes, an object that is gone or another one', async () => {
  const failing = async (over: Partial<DocumentSummary>, id = document.id) => {
    const { code, stderr } = await cli(over).run('documents', 'get', id);
    assert.equal(code, 1);
    return stderr;
  };
  assert.match(await failing({}, '01890a5d-ac96-574b-bcce-b302099a8002'), /^error: no document 01890a5d/);
  assert.match(await failing({ storageKey: null, status: 'FAILED' }), /is FAILED and has no bytes/);
  assert.match(await failing({ storageKey: 'org/2026/01/gone.pdf' }), /is missing from the object store/);
  assert.match(await failing({ sha256: 'aa' }), /its sha256 differs/);
});
