/** The header of the mail itself: who, to whom, what about, when. */
import { parseAddresses } from './addresses.ts';
import { createLineEndFilter } from './bare-returns.ts';
import { decodeUndeclaredLatin1, isAscii } from './charset.ts';
import { parseDate } from './dates.ts';
import { type DefectCollector, listDefects } from './defects.ts';
import { decodeEncodedWords } from './encoded-words.ts';
import { fieldValue, type HeaderField, readFields } from './header-block.ts';
import { defaultMimeLimits } from './limits.ts';
import { parameterValue } from './parameter-values.ts';
import { parseParameters } from './parameters.ts';
import type { MailAddress, MailHeader } from './types.ts';

/**
 * What is decoded of a field by `readMailHeader`, before whose end the sender gets no reply and nobody else does: encoded
 * words and other charsets than ASCII cost up to a microsecond a byte, an address list that is not regular a tenth of it.
 * Together, From, To, Subject and Date stay below 10 ms. An encoded subject of 1,000 characters has 4 KiB.
 */
const maxDecodedBytes = 4 * 1024;
/** What is shown of a field that is ASCII as it stands: more than a row takes. */
const maxShownBytes = 20 * 1024;

/**
 * Reads the header block of a mail, for whom the body does not matter. What follows an empty line is not looked at, nor
 * what lies beyond the default bounds of the engine; of a field that has to be decoded, the first 4 KiB are shown, of
 * another the first 20 (`raw` has more). Errors: none. Time: linear.
 */
export function readMailHeader(block: Uint8Array): MailHeader {
  const defects: DefectCollector = new Set();
  const bytes = Buffer.from(
    block.buffer,
    block.byteOffset,
    Math.min(block.length, defaultMimeLimits.maxHeaderBlockBytes),
  );
  // The same line ends as the engine sees, so that both read the same fields.
  const lineEnds = createLineEndFilter();
  const lines = Buffer.concat([lineEnds.push(bytes), lineEnds.end()]);
  const fields = readFields(withoutByteOrderMark(lines), defects, defaultMimeLimits.maxHeaderFields);
  return toMailHeader(fields, defects, (value) => value.slice(0, isDear(value) ? maxDecodedBytes : maxShownBytes));
}

function isDear(value: string): boolean {
  return value.length > maxDecodedBytes && (value.includes('=?') || value.includes('\x1b') || !isAscii(value));
}

/**
 * What the engine decodes of a field whose decoding is dear, in the worker: one microsecond a byte, in each of four
 * fields. An honest one has a tenth of it.
 */
const maxDearBytes = 16 * 1024;

/** `shown`: what of a value is decoded; by default all of it, or its first 16 KiB where that is dear. */
export function toMailHeader(
  fields: readonly HeaderField[],
  defects: DefectCollector,
  shown: (value: string) => string = (value) => (isDear(value) ? value.slice(0, maxDearBytes) : value),
): MailHeader {
  const raw = readValues(fields, defects);
  const values = new Map<string, string>();
  for (const [name, value] of raw) values.set(name, shown(value));
  const subject = values.get('subject') ?? null;
  const date = values.get('date') ?? null;
  const parsedDate = date === null ? null : parseDate(decodeEncodedWords(date, defects));
  if (date !== null && parsedDate === null) defects.add('date-malformed');
  return {
    messageId: readMessageId(fields, defects),
    subject:
      subject === null ? null : onOneLine(decodeEncodedWords(subject, defects, charsetFor(subject, fields))).trim(),
    from: readAddresses(values, 'from', defects),
    to: readAddresses(values, 'to', defects),
    cc: readAddresses(values, 'cc', defects),
    date: parsedDate,
    raw: {
      from: rawText(raw, 'from', defects),
      to: rawText(raw, 'to', defects),
      subject: rawText(raw, 'subject', defects),
      date: rawText(raw, 'date', defects),
    },
    defects: listDefects(defects),
  };
}

/** For raw 8-bit text: the charset that the mail names for its body, where that is text. */
function charsetFor(text: string, fields: readonly HeaderField[]): string | null {
  if (isAscii(text)) return null;
  const type = fieldValue(fields, 'content-type');
  if (type === null || !/^text\//i.test(type)) return null;
  const { parameters } = parseParameters(type, defaultMimeLimits.maxParameters, new Set());
  return parameterValue(parameters, 'charset', new Set());
}

/** Line ends that an encoded word brought along, as one blank. A tab is how some senders fold; NUL shows as U+FFFD later. */
function onOneLine(text: string): string {
  return /[\r\n]/.test(text) ? text.replace(/[ \t\r\n]+/g, (run) => (/[\r\n]/.test(run) ? ' ' : run)) : text;
}

/** A UTF-8 byte order mark is what an editor left in front of a saved mail. */
export function withoutByteOrderMark(bytes: Buffer): Buffer {
  return bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf ? bytes.subarray(3) : bytes;
}

/** The first field that is not empty; of its text the first `<…>` when there is one, angle brackets kept. */
function readMessageId(fields: readonly HeaderField[], defects: DefectCollector): string | null {
  const value = fields.find((field) => field.name === 'message-id' && field.value.trim() !== '')?.value;
  if (value === undefined) return null;
  const text = betweenAngles(value) ?? value.slice(0, defaultMimeLimits.maxHeaderFieldBytes).trim();
  return decodeUndeclaredLatin1(text, defects);
}

/** The first `<…>` with neither bracket in it. */
function betweenAngles(value: string): string | null {
  let open = -1;
  for (let i = 0; i < value.length; i++) {
    if (value[i] === '<') open = i;
    else if (value[i] === '>' && open >= 0) return value.slice(open, i + 1);
  }
  return null;
}

function readAddresses(values: Values, name: string, defects: DefectCollector): readonly MailAddress[] {
  const value = values.get(name);
  return value === undefined ? [] : parseAddresses(value, defects);
}

function rawText(values: Values, name: string, defects: DefectCollector): string | null {
  const value = values.get(name);
  return value === undefined ? null : decodeUndeclaredLatin1(value, defects);
}

/** Of each of these fields the first that is not empty, bounded; `''` when all are. */
type Values = ReadonlyMap<string, string>;

/** Fields that RFC 5322 §3.6 allows once, of those read here. */
const singleFields = new Set(['message-id', 'subject', 'date', 'from', 'to', 'cc']);

/** Twice with the same value is no news. */
function readValues(fields: readonly HeaderField[], defects: DefectCollector): Values {
  const values = new Map<string, string>();
  for (const field of fields) {
    if (!singleFields.has(field.name)) continue;
    const known = values.get(field.name);
    if (known !== undefined && known !== field.value) defects.add('field-repeated');
    if (known === undefined || known === '') values.set(field.name, field.value);
  }
  for (const [name, value] of values) {
    if (value.length > maxValueLength) values.set(name, value.slice(0, maxValueLength));
  }
  return values;
}

/** The header may be read alone, by someone whose bound on a field is another one than that of the engine. */
const maxValueLength = defaultMimeLimits.maxHeaderFieldBytes;
