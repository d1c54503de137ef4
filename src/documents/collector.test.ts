import assert from 'node:assert/strict';
import { describe, it, type TestContext } from 'node:test';
import { createFileObjectStore } from '../adapters/fs/object-store.ts';
import type { Defect, DefectCode, MailEvent, PartHeader } from '../mime/index.ts';
import { temporaryFolder } from '../testing/temporary-folder.ts';
import { type Collected, createCollector } from './collector.ts';

const message = {
  id: '01890a5d-ac96-774b-bcce-b302099a8057',
  orgId: '01890a5d-0000-7000-8000-000000000001',
  status: 'STORED',
  rawStorageKey: 'raw.eml',
  receivedAt: new Date('2026-03-01T10:00:00Z'),
  sizeBytes: 1,
  sourceMessageId: '<1@buyer.example>',
  traceId: 'trace',
} as const;

const headerOf = (fileName: string | null): PartHeader => ({
  mediaType: 'application/pdf',
  declaredMediaType: 'application/pdf',
  charset: null,
  disposition: fileName === null ? null : 'attachment',
  fileName,
  transferEncoding: 'base64',
  contentId: null,
  contentLocation: null,
});

function part(path: string, fileName: string, ...codes: readonly DefectCode[]): readonly MailEvent[] {
  const defects: readonly Defect[] = codes.map((code) => ({ code, message: `about ${code}` }));
  const parents = { parentMediaType: 'multipart/mixed', enclosing: ['multipart/mixed'], messagePath: '' };
  return [
    { type: 'part-begin', part: { path, header: headerOf(fileName), ...parents } },
    { type: 'part-data', path, bytes: Buffer.from(fileName) },
    { type: 'part-end', path, defects, sizeBytes: fileName.length },
  ];
}

async function collect(t: TestContext, events: readonly MailEvent[]): Promise<Collected> {
  const objects = await createFileObjectStore({ rootDir: await temporaryFolder(t) });
  const { signal } = new AbortController();
  const collector = createCollector({ message, objects, signal, stored: () => {} });
  const root: MailEvent = { type: 'multipart-begin', path: '', header: headerOf(null) };
  for (const event of [root, ...events, { type: 'end', defects: [] } as const]) await collector.take(event);
  return collector.collected();
}

describe('what is collected of a mail', () => {
  it('is in the order of the parts, whatever order they end in', async (t) => {
    const paths = ['10', '2.m.10', '2.m.2', '2', '1'];
    const { documents, parts } = await collect(
      t,
      paths.flatMap((path) => part(path, `${path}.pdf`)),
    );
    const ordered = ['1', '2', '2.m.2', '2.m.10', '10'];
    assert.deepEqual(
      documents.map(({ partPath, fileName }) => [partPath, fileName]),
      ordered.map((path) => [path, `${path}.pdf`]),
    );
    assert.deepEqual(
      parts.map(({ path }) => path),
      ordered,
    );
  });

  it('marks a document for defects of its bytes, and says all that is noted at the part and on the message', async (t) => {
    const { documents, parts, notes, failure } = await collect(t, [
      ...part('1', 'whole.pdf', 'field-repeated', 'parameter-malformed'),
      ...part('2', 'cut.pdf', 'field-repeated', 'multipart-not-closed'),
      ...part('3', 'spaces.txt', 'quoted-printable-trailing-space'),
      ...part('4', 'plain.pdf'),
    ]);
    assert.equal(failure, null);
    assert.deepEqual(
      documents.map(({ error }) => error),
      [
        null,
        { code: 'decoded-with-defects', message: 'multipart-not-closed: about multipart-not-closed' },
        {
          code: 'decoded-with-defects',
          message: 'quoted-printable-trailing-space: about quoted-printable-trailing-space',
        },
        null,
      ],
    );
    assert.deepEqual(
      parts.map((one) => one.notes),
      [['field-repeated', 'parameter-malformed'], ['field-repeated', 'multipart-not-closed'], undefined, undefined],
    );
    assert.deepEqual(notes, [
      { code: 'field-repeated', part: '1', text: 'whole.pdf: about field-repeated' },
      { code: 'parameter-malformed', part: '1', text: 'whole.pdf: about parameter-malformed' },
      { code: 'field-repeated', part: '2', text: 'cut.pdf: about field-repeated' },
      { code: 'multipart-not-closed', part: '2', text: 'cut.pdf: about multipart-not-closed' },
    ]);
  });

  it('names in its notes what the document is called, and a part that is none as it was sent', async (t) => {
    const shown = part('2', 'logo.png', 'field-repeated').map((event) =>
      event.type !== 'part-begin'
        ? event
        : {
            ...event,
            part: { ...event.part, header: { ...headerOf('logo.png'), mediaType: 'image/png', disposition: 'inline' } },
          },
    );
    const { notes, parts } = await collect(t, [...part('1', '../a/order.pdf', 'base64-cut'), ...shown]);
    assert.deepEqual(
      parts.map(({ decision }) => decision),
      ['document', 'skipped'],
    );
    assert.deepEqual(
      notes.map(({ text }) => text),
      ['order.pdf: about base64-cut', 'logo.png: about field-repeated'],
    );
  });
});
