/** What a mail carries, in the form that the corpus is written in and `mime_oracle.py --compare` reads. */
import { createHash, type Hash } from 'node:crypto';
import {
  createDocumentRule,
  createMimeParser,
  type DocumentReason,
  type MailEvent,
  type MailHeader,
  type PartBegin,
} from './index.ts';

export interface AttachmentRecord {
  readonly part: string;
  readonly filename: string | null;
  readonly mime_type: string;
  readonly size: number;
  readonly sha256: string;
}

export interface MailRecord {
  readonly path: string;
  readonly message_id: string | null;
  readonly subject: string | null;
  readonly from: readonly { readonly name: string | null; readonly address: string | null }[];
  readonly to: readonly { readonly name: string | null; readonly address: string | null }[];
  readonly date: string | null;
  readonly attachments: readonly AttachmentRecord[];
  /** The leaves that are no attachments, and why. */
  readonly left_out: readonly { readonly part: string; readonly reason: DocumentReason }[];
  readonly limit: string | null;
  /** The codes of all defects of header and parts, in the order they were met, each once. */
  readonly defects: readonly string[];
}

/** Feeds `mail` in pieces that end at the given positions. */
export function recordMail(path: string, mail: Buffer, cuts: Iterable<number> = slices(mail.length)): MailRecord {
  const recorder = createRecorder();
  const parser = createMimeParser();
  let from = 0;
  for (const cut of cuts) {
    for (const event of parser.push(mail.subarray(from, cut))) recorder.observe(event);
    from = cut;
  }
  for (const event of parser.push(mail.subarray(from))) recorder.observe(event);
  for (const event of parser.end()) recorder.observe(event);
  return recorder.record(path);
}

function* slices(length: number): Iterable<number> {
  for (let cut = 65_536; cut < length; cut += 65_536) yield cut;
}

interface Recorder {
  observe(event: MailEvent): void;
  record(path: string): MailRecord;
}

export function createRecorder(): Recorder {
  const rule = createDocumentRule();
  const parts: { readonly part: PartBegin; readonly hash: Hash; size: number; sha256: string | null }[] = [];
  const open = new Map<string, (typeof parts)[number]>();
  const leaves: PartBegin[] = [];
  let header: MailHeader | null = null;
  let limit: string | null = null;
  const defects = new Set<string>();
  return {
    observe(event) {
      rule.observe(event);
      if (event.type === 'part-begin') leaves.push(event.part);
      if (event.type === 'part-end' || event.type === 'multipart-end') {
        for (const { code } of event.defects) defects.add(code);
      }
      if (event.type === 'header') {
        header = event.header;
        for (const { code } of header.defects) defects.add(code);
      } else if (event.type === 'limit') limit = event.limit;
      else if (event.type === 'part-begin' && rule.verdict(event.part).document) {
        const entry = { part: event.part, hash: createHash('sha256'), size: 0, sha256: null };
        parts.push(entry);
        open.set(event.part.path, entry);
      } else if (event.type === 'part-data') {
        const entry = open.get(event.path);
        if (entry === undefined) return;
        entry.hash.update(event.bytes);
        entry.size += event.bytes.length;
      } else if (event.type === 'part-end') {
        const entry = open.get(event.path);
        if (entry !== undefined) entry.sha256 = entry.hash.digest('hex');
        open.delete(event.path);
      }
    },
    record(path) {
      const whole = parts.filter(({ part, sha256 }) => sha256 !== null && rule.verdict(part).document);
      return {
        path,
        message_id: header?.messageId ?? null,
        subject: header?.subject ?? null,
        from: (header?.from ?? []).map(({ name, address }) => ({ name, address: address === '' ? null : address })),
        to: (header?.to ?? []).map(({ name, address }) => ({ name, address: address === '' ? null : address })),
        date: header?.date?.toISOString().replace(/\.\d+Z$/, 'Z') ?? null,
        attachments: whole.map(({ part, size, sha256 }) => ({
          part: part.path,
          filename: part.header.fileName,
          mime_type: part.header.mediaType,
          size,
          sha256: sha256 ?? '',
        })),
        left_out: leaves.flatMap((part) => {
          const { document, reason } = rule.verdict(part);
          return document ? [] : [{ part: part.path, reason }];
        }),
        limit,
        defects: [...defects],
      };
    },
  };
}

/** Everything the engine says of a mail but the cutting of the data: two feedings of one mail must give the same text. */
export function traceMail(mail: Buffer, cuts: Iterable<number>): string {
  const lines: string[] = [];
  const open = new Map<string, Hash>();
  const observe = (event: MailEvent): void => {
    if (event.type === 'part-begin') open.set(event.part.path, createHash('sha256'));
    if (event.type === 'part-data') open.get(event.path)?.update(event.bytes);
    else lines.push(JSON.stringify(event));
    if (event.type === 'part-end') lines.push(open.get(event.path)?.digest('hex') ?? 'end without begin');
  };
  feed(mail, cuts, observe);
  return lines.join('\n');
}

/** Each piece lies in memory of its own and is wiped afterwards, so that whatever is wrongly kept of it shows. */
function feed(mail: Buffer, cuts: Iterable<number>, observe: (event: MailEvent) => void): void {
  const parser = createMimeParser();
  let from = 0;
  const push = (to: number): void => {
    const piece = Buffer.from(mail.subarray(from, to));
    for (const event of parser.push(piece)) observe(event);
    piece.fill(0x2d);
    from = to;
  };
  for (const cut of cuts) push(cut);
  push(mail.length);
  for (const event of parser.end()) observe(event);
}
