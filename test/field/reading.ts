/** What the product makes of a mail: its header as the intake records it, the rest as the worker records it. */
import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import type { TestContext } from 'node:test';
import { createFileObjectStore } from '../../src/adapters/fs/object-store.ts';
import { type Collected, createCollector } from '../../src/documents/collector.ts';
import { createHeaderScan, firstAddress, type MailHeader, parseMail, readMailHeader } from '../../src/mime/index.ts';
import type { ObjectStore } from '../../src/ports/object-store.ts';
import { temporaryFolder } from '../../src/testing/temporary-folder.ts';

export interface ReadDocument {
  readonly part: string;
  readonly name: string;
  readonly type: string;
  /** As they lie in the object store. */
  readonly bytes: Buffer;
}

export interface Reading {
  readonly status: 'PARSED' | 'FAILED';
  readonly error: string | null;
  readonly subject: string | null;
  readonly from: string | null;
  readonly senders: MailHeader['from'];
  readonly date: string | null;
  readonly documents: readonly ReadDocument[];
  readonly left_out: readonly { readonly part: string; readonly reason: string }[];
  readonly notes: readonly string[];
  readonly marked: readonly string[];
}

const message = {
  id: '01890a5d-ac96-774b-bcce-b302099a8057',
  orgId: '01890a5d-0000-7000-8000-000000000001',
  status: 'STORED',
  rawStorageKey: 'raw.eml',
  receivedAt: new Date('2026-03-01T10:00:00Z'),
  sizeBytes: 1,
  sourceMessageId: '<1@buyer.example.com>',
  traceId: 'trace',
} as const;

export async function readAsProduct(t: TestContext, mail: Buffer): Promise<Reading> {
  const objects = await createFileObjectStore({ rootDir: await temporaryFolder(t) });
  const collected = await collect(objects, mail);
  return {
    ...headerOf(mail),
    status: collected.failure === null ? 'PARSED' : 'FAILED',
    error: collected.failure?.code ?? null,
    documents: await Promise.all(
      collected.documents.map(async ({ partPath, fileName, mimeType, storageKey }) => ({
        part: partPath,
        name: fileName,
        type: mimeType,
        bytes: storageKey === null ? Buffer.alloc(0) : await buffer(await objects.get(storageKey)),
      })),
    ),
    left_out: collected.parts
      .filter(({ decision }) => decision === 'skipped')
      .map(({ path, reason }) => ({ part: path, reason })),
    notes: collected.notes.map(({ code, part }) => `${code}@${part ?? '-'}`),
    marked: collected.documents.filter(({ error }) => error !== null).map(({ partPath }) => partPath),
  };
}

/** The header as the intake finds and reads it, in pieces of any size. Shape: without defects, which the worker records. */
export function intakeHeader(mail: Buffer, pieceBytes: number): Omit<MailHeader, 'defects'> {
  const scan = createHeaderScan();
  for (let from = 0; from < mail.length; from += pieceBytes) scan.push(mail.subarray(from, from + pieceBytes));
  const { defects: _, ...header } = readMailHeader(scan.finish().headerBlock);
  return header;
}

/** The header that the worker finds in front of the parts. */
export async function workerHeader(mail: Buffer): Promise<Omit<MailHeader, 'defects'> | null> {
  for await (const event of parseMail(Readable.from([mail]))) {
    if (event.type !== 'header') continue;
    const { defects: _, ...header } = event.header;
    return header;
  }
  return null;
}

async function collect(objects: ObjectStore, mail: Buffer): Promise<Collected> {
  const { signal } = new AbortController();
  const collector = createCollector({ message, objects, signal, stored: () => {} });
  try {
    for await (const event of parseMail(Readable.from([mail]))) await collector.take(event);
    return collector.collected();
  } finally {
    await collector.abandon();
  }
}

function headerOf(mail: Buffer): Pick<Reading, 'subject' | 'from' | 'senders' | 'date'> {
  const { subject, from, date } = intakeHeader(mail, mail.length);
  return {
    subject,
    from: firstAddress(from),
    senders: from,
    date: date?.toISOString().replace(/\.000Z$/, 'Z') ?? null,
  };
}
