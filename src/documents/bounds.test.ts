/** What one mail may become at the most, in numbers of documents and bytes. */
import assert from 'node:assert/strict';
import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import { createFileObjectStore } from '../adapters/fs/object-store.ts';
import { parseMail } from '../mime/index.ts';
import { mixed, nestedMessages, tinyAttachments } from '../testing/hostile-mails.ts';
import { temporaryFolder } from '../testing/temporary-folder.ts';
import { MAX_DOCUMENTS, MAX_NOTES } from './bounds.ts';
import { type Collected, createCollector } from './collector.ts';

interface Read extends Collected {
  /** Units: bytes, of all objects. */
  readonly storedBytes: number;
}

async function read(t: TestContext, mail: string): Promise<Read> {
  const rootDir = await temporaryFolder(t);
  const objects = await createFileObjectStore({ rootDir });
  const collector = createCollector({
    message: {
      id: '01890a5d-ac96-774b-bcce-b302099a8057',
      orgId: '01890a5d-0000-7000-8000-000000000001',
      status: 'STORED',
      rawStorageKey: 'raw.eml',
      receivedAt: new Date('2026-03-01T10:00:00Z'),
      sizeBytes: mail.length,
      sourceMessageId: '<1@buyer.example>',
      traceId: 'trace',
    },
    objects,
    signal: new AbortController().signal,
    stored: () => {},
  });
  async function* once(): AsyncGenerator<Uint8Array> {
    yield Buffer.from(mail, 'latin1');
  }
  for await (const event of parseMail(once())) await collector.take(event);
  const entries = await readdir(rootDir, { recursive: true, withFileTypes: true });
  const sizes = await Promise.all(
    entries
      .filter((entry) => entry.isFile())
      .map(async (entry) => (await stat(join(entry.parentPath, entry.name))).size),
  );
  return { ...collector.collected(), storedBytes: sizes.reduce((sum, size) => sum + size, 0) };
}

const countBy = (values: readonly string[]): Record<string, number> =>
  Object.fromEntries(
    Object.entries(Object.groupBy(values, (value) => value)).map(([key, all]) => [key, all?.length ?? 0]),
  );

describe('of one mail', () => {
  it(`${MAX_DOCUMENTS} documents are stored; the parts beyond are listed, and a note says how many`, async (t) => {
    const { documents, parts, notes, failure } = await read(
      t,
      tinyAttachments(700, (i) => `${i}.csv`),
    );
    assert.equal(failure, null);
    assert.equal(documents.length, MAX_DOCUMENTS);
    assert.deepEqual(countBy(parts.map(({ decision, reason }) => `${decision} ${reason}`)), {
      'document attachment': MAX_DOCUMENTS - 1,
      'document has-file-name': 1,
      'skipped document-limit': 201,
    });
    assert.deepEqual(parts.at(-1)?.fileName, '699.csv');
    assert.deepEqual(notes[0], {
      code: 'document-limit',
      part: null,
      text: 'the mail has 500 documents and 201 files more, which were not stored',
      detail: { count: 201 },
    });
  });

  it('as many documents are all stored, and nothing is said', async (t) => {
    const { documents, notes } = await read(
      t,
      tinyAttachments(MAX_DOCUMENTS - 1, (i) => `${i}.csv`),
    );
    assert.equal(documents.length, MAX_DOCUMENTS);
    assert.deepEqual(notes, []);
  });

  it('the outermost message that is a document is stored whole, and those inside it are opened', async (t) => {
    const mail = nestedMessages(19, 'x'.repeat(100_000));
    const { documents, parts, storedBytes } = await read(t, mail);
    assert.deepEqual(
      documents.map(({ partPath, mimeType }) => [partPath, mimeType]),
      [
        ['1', 'message/rfc822'],
        [`1${'.m'.repeat(19)}`, 'application/pdf'],
      ],
    );
    assert.deepEqual(countBy(parts.map(({ reason }) => reason)), {
      attachment: 1,
      'within-message': 18,
      'unnamed-file': 1,
    });
    assert.ok(storedBytes < 2.1 * mail.length, `${storedBytes} bytes of a mail of ${mail.length}`);
  });

  it('a message that lies beside another, or within one that is no document, is stored whole', async (t) => {
    const message = (disposition: string, inside: string): string =>
      `--b\r\nContent-Type: message/rfc822\r\n${disposition}\r\n${inside}\r\n`;
    const attached = 'Content-Disposition: attachment; filename=a.eml\r\n';
    const { documents } = await read(
      t,
      mixed(
        message(attached, 'Subject: one\r\n\r\nx') +
          message(attached, 'Subject: two\r\n\r\nx') +
          message('', `Content-Type: message/rfc822\r\n${attached}\r\nSubject: three\r\n\r\nx`),
      ),
    );
    assert.deepEqual(
      documents.map(({ partPath }) => partPath),
      ['1', '2', '3', '4.m'],
    );
  });

  it('the list of parts stays below 4 MB, and the notes below their number', async (t) => {
    const name = '\xe9'.repeat(1_000);
    const part = `Content-Type: x; name="${name}"\r\nno field\r\nContent-Disposition: inline; name=x=y\r\n\r\nx`;
    const { parts, notes } = await read(
      t,
      mixed(`--b\r\n${part.replace('x; name', 'image/png; name')}\r\n`.repeat(9_900)),
    );
    assert.ok(parts.length > 9_900, `${parts.length} parts`);
    const listed = Buffer.byteLength(JSON.stringify(parts));
    assert.ok(listed < 4_000_000, `${listed} bytes`);
    assert.equal(notes.length, MAX_NOTES);
    assert.equal(notes.at(-1)?.code, 'more');
  });
});
