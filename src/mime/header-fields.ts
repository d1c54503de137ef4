/**
 * The fields of a header while its lines pass, for whom the whole of it is too much to hold: those that tell what a mail is
 * are kept, cut at a bound; its content fields are digested, its Received fields counted, whatever their number and size.
 */
import { type ContentFields, createContentFields, isContentField } from './content-fields.ts';
import { blanksAt, classifyLine, fieldNameEnd, findLineEnd, type HeaderLine, indentOf } from './header-block.ts';
import { createHeldBytes, type HeldBytes } from './held-bytes.ts';
import type { Window } from './window.ts';

/**
 * Of each of these fields so many bytes are kept, white space and line ends included: 126 KiB in all. What lies beyond is
 * neither shown nor part of the Message-ID; of two ids that are equal so far, the digest of the content tells.
 * A To of 500 recipients has 32 KiB, and a row shows 16,384 characters of it.
 */
export const keptFieldBytes: ReadonlyMap<string, number> = new Map([
  ['message-id', 16 * 1024],
  ['from', 32 * 1024],
  ['to', 32 * 1024],
  ['subject', 32 * 1024],
  ['date', 4 * 1024],
  ['content-type', 8 * 1024],
  ['content-disposition', 1024],
  ['content-transfer-encoding', 1024],
]);

export interface HeaderFields {
  /** All of them in one block, each with its line end, as sent but for an indentation. */
  kept(): Buffer;
  readonly receivedFields: number;
  /** Text stands among the fields. */
  readonly hasText: boolean;
  /** See `ContentFields.digest`. Once, after the last line. */
  contentFieldsDigest(): string;

  /** Reads on in the window up to this position: whole lines, and at last what there is of a line that is not. */
  take(position: number): void;
  /** From where on the window has to keep bytes for the next line to be read; null: from the end of what was taken. */
  fieldStart(): number | null;
  /** `[from, to)` was cut out of the window. */
  moved(from: number, to: number): void;
}

interface KeptField {
  readonly bytes: HeldBytes;
  readonly maxBytes: number;
  isBlank: boolean;
}

/** `start`: where the first field is. Owns: what it keeps. Errors: none. Time: linear. */
export function createHeaderFields(window: Window, start: number): HeaderFields {
  return new Fields(window, start);
}

const received = 'received';
const lineFeed = 10;
const colon = 58;
const lineEnd = Buffer.from('\r\n');

class Fields implements HeaderFields {
  receivedFields = 0;
  hasText = false;
  private readonly window: Window;
  private readonly fields = new Map<string, KeptField>();
  private readonly content: ContentFields = createContentFields();
  private taken: number;
  private indent = -1;
  /** Of the field that a next line may continue, else -1. */
  private lineOfField = -1;
  private current: KeptField | null = null;
  private inContentField = false;
  /** What was taken last ends inside a line. */
  private inLine = false;

  constructor(window: Window, start: number) {
    this.window = window;
    this.taken = start;
  }

  take(position: number): void {
    const { bytes, base } = this.window;
    while (this.taken < position) {
      const from = this.taken - base;
      const found = findLineEnd(bytes, from);
      const to = Math.min(found + 1, position - base);
      if (this.inLine) this.append(bytes, from, from, to);
      else this.beginLine(bytes, from, Math.min(found, to), to);
      this.inLine = bytes[to - 1] !== lineFeed;
      this.taken = base + to;
    }
  }

  fieldStart(): number | null {
    return this.lineOfField < 0 ? null : this.lineOfField;
  }

  moved(from: number, to: number): void {
    if (this.lineOfField >= 0 && this.lineOfField < from) this.lineOfField += to - from;
  }

  kept(): Buffer {
    const pieces: Buffer[] = [];
    for (const { bytes } of this.fields.values()) {
      const field = bytes.bytes();
      pieces.push(field);
      if (field.at(-1) !== lineFeed) pieces.push(lineEnd);
    }
    return Buffer.concat(pieces);
  }

  contentFieldsDigest(): string {
    return this.content.digest();
  }

  private beginLine(bytes: Buffer, from: number, textEnd: number, to: number): void {
    const start = from + this.markLength(bytes, from);
    if (this.indent < 0) this.indent = indentOf(bytes, start, textEnd);
    const fieldStart = this.lineOfField < 0 ? -1 : this.lineOfField - this.window.base;
    const line = classifyLine(bytes, start, textEnd, fieldStart, this.indent);
    if (line === 'field') {
      this.beginField(bytes, start, textEnd, to);
      return;
    }
    if (line !== 'continuation' && line !== 'unindented') this.lineOfField = -1;
    if (line === 'envelope') this.leaveField();
    else if (isText(line)) this.hasText = true;
    // Also text: whether it is the rest of the field is for `readFields` to say.
    this.append(bytes, start, start, to);
  }

  /** As the reader of headers has it. */
  private markLength(bytes: Buffer, from: number): number {
    const isMark = this.taken === 0 && bytes[from] === 0xef && bytes[from + 1] === 0xbb && bytes[from + 2] === 0xbf;
    return isMark ? 3 : 0;
  }

  private beginField(bytes: Buffer, lineStart: number, textEnd: number, to: number): void {
    this.lineOfField = this.window.base + lineStart;
    this.leaveField();
    const start = lineStart + (this.indent > 0 ? blanksAt(bytes, lineStart, textEnd) : 0);
    const nameEnd = fieldNameEnd(bytes, start, textEnd);
    const name = bytes.toString('latin1', start, nameEnd).toLowerCase();
    if (name === received) this.receivedFields++;
    this.inContentField = isContentField(name);
    if (this.inContentField) this.content.begin(name);
    this.current = this.fieldToKeep(name);
    if (!this.inContentField && this.current === null) return;
    let valueStart = nameEnd;
    while (bytes[valueStart] !== colon) valueStart++;
    this.append(bytes, start, valueStart + 1, to);
  }

  private leaveField(): void {
    this.current = null;
    this.inContentField = false;
  }

  /** Of a name the first field counts, and of those that describe the mail the first that is not blank. */
  private fieldToKeep(name: string): KeptField | null {
    const maxBytes = keptFieldBytes.get(name);
    if (maxBytes === undefined) return null;
    const known = this.fields.get(name);
    if (known !== undefined && (!known.isBlank || name.startsWith('content-'))) return null;
    const field = { bytes: createHeldBytes(maxBytes), maxBytes, isBlank: true };
    this.fields.set(name, field);
    return field;
  }

  /** What stands in `[start, to)` belongs to the field; its value begins at `valueStart`. */
  private append(bytes: Buffer, start: number, valueStart: number, to: number): void {
    if (this.inContentField) this.content.text(bytes.toString('latin1', valueStart, to));
    if (this.current === null) return;
    this.current.bytes.append(bytes.subarray(start, to));
    this.current.isBlank &&= isBlank(bytes, valueStart, to);
  }
}

function isText(line: HeaderLine): boolean {
  return line === 'none' || line === 'dashes';
}

function isBlank(bytes: Buffer, start: number, end: number): boolean {
  for (let i = start; i < end; i++) {
    const byte = bytes[i];
    if (byte !== 32 && byte !== 9 && byte !== 13 && byte !== lineFeed) return false;
  }
  return true;
}
