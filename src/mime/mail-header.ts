/** The header of the mail itself: who, to whom, what about, when. */
import { parseAddresses } from './addresses.ts';
import { createLineEndFilter } from './bare-returns.ts';
import { decodeUndeclaredLatin1, isAscii } from './charset.ts';
import { parseDate } from './dates.ts';
import { type DefectCollector, listDefects } from './defects.ts';
import { decodeEncodedWords } from './encoded-words.ts';
import { type HeaderField, readFields } from './header-block.ts';
import { defaultMimeLimits } from './limits.ts';
import { parameterValue } from './parameter-values.ts';
import { parseParameters } from './parameters.ts';
import type { MailAddress, MailHeader } from './types.ts';

/**
 * Reads the header block of a mail, for whom the body does not matter. What follows an empty line is not looked at, nor
 * what lies beyond the default bounds of the engine. Errors: none. Time: linear.
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
  return toMailHeader(readFields(withoutByteOrderMark(lines), defects, defaultMimeLimits.maxHeaderFields), defects);
}

export function toMailHeader(fields: readonly HeaderField[], defects: DefectCollector): MailHeader {
  if (isAnyRepeated(fields)) defects.add('field-repeated');
  const subject = boundedValue(fields, 'subject');
  const date = boundedValue(fields, 'date');
  const parsedDate = date === null ? null : parseDate(decodeEncodedWords(date, defects));
  if (date !== null && parsedDate === null) defects.add('date-malformed');
  return {
    messageId: readMessageId(fields, defects),
    subject:
      subject === null
        ? null
        : withoutControls(decodeEncodedWords(subject, defects, charsetFor(subject, fields))).trim(),
    from: readAddresses(fields, 'from', defects),
    to: readAddresses(fields, 'to', defects),
    cc: readAddresses(fields, 'cc', defects),
    date: parsedDate,
    raw: {
      from: rawText(fields, 'from', defects),
      to: rawText(fields, 'to', defects),
      subject: rawText(fields, 'subject', defects),
      date: rawText(fields, 'date', defects),
    },
    defects: listDefects(defects),
  };
}

/** For raw 8-bit text: the charset that the mail names for its body, where that is text. */
function charsetFor(text: string, fields: readonly HeaderField[]): string | null {
  if (isAscii(text)) return null;
  const type = boundedValue(fields, 'content-type');
  if (type === null || !/^text\//i.test(type)) return null;
  const { parameters } = parseParameters(type, defaultMimeLimits.maxParameters, new Set());
  return parameterValue(parameters, 'charset', new Set());
}

/** Line ends and other controls that an encoded word brought along, as one blank. A tab is how some senders fold. */
function withoutControls(text: string): string {
  return text.replace(/[ \p{Cc}]+/gu, (run) => (/[^ \t]/.test(run) ? ' ' : run));
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

function readAddresses(fields: readonly HeaderField[], name: string, defects: DefectCollector): readonly MailAddress[] {
  const value = boundedValue(fields, name);
  return value === null ? [] : parseAddresses(value, defects);
}

function rawText(fields: readonly HeaderField[], name: string, defects: DefectCollector): string | null {
  const value = boundedValue(fields, name);
  return value === null ? null : decodeUndeclaredLatin1(value, defects);
}

/** Of the first field that is not empty; `''` when all are, null when there is none. */
function boundedValue(fields: readonly HeaderField[], name: string): string | null {
  let whenEmpty: '' | null = null;
  for (const field of fields) {
    if (field.name !== name) continue;
    if (field.value !== '') return field.value.slice(0, defaultMimeLimits.maxHeaderFieldBytes);
    whenEmpty = '';
  }
  return whenEmpty;
}

/** Fields that RFC 5322 §3.6 allows once, of those read here. */
const singleFields = new Set(['message-id', 'subject', 'date', 'from', 'to', 'cc']);

/** Twice with the same value is no news. */
function isAnyRepeated(fields: readonly HeaderField[]): boolean {
  const seen = new Map<string, string>();
  for (const { name, value } of fields) {
    if (!singleFields.has(name)) continue;
    if (seen.has(name) && seen.get(name) !== value) return true;
    seen.set(name, value);
  }
  return false;
}
