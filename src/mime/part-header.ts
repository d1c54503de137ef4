/** What the header of a part says of its content. Spec: RFC 2045 §5–§7, RFC 2183. */
import { decodeUndeclaredLatin1 } from './charset.ts';
import type { DefectCollector } from './defects.ts';
import { fieldValue, type HeaderField } from './header-block.ts';
import { type ParameterizedValue, parameterValue, parseParameters } from './parameters.ts';
import type { MimeLimits, PartHeader } from './types.ts';

export interface ReadPartHeader {
  readonly header: PartHeader;
  /** As bytes in Latin-1 code points; null when there is none. A type that is no multipart may have one, too. */
  readonly boundary: string | null;
  readonly limit: keyof MimeLimits | null;
}

const token = /^[!#$%&'*+.^_`|~0-9a-z-]+$/;
const wholeMediaType = /^[!#$%&'*+.^_`|~0-9a-z-]+\/[!#$%&'*+.^_`|~0-9a-z-]+$/;
const spacedMediaType = /^([!#$%&'*+.^_`|~0-9a-z-]+)\s*\/\s*([!#$%&'*+.^_`|~0-9a-z-]+)/;

export function readPartHeader(
  fields: readonly HeaderField[],
  defaultMediaType: string,
  limits: MimeLimits,
  defects: DefectCollector,
): ReadPartHeader {
  const type = parse(fieldValue(fields, 'content-type'), limits, defects);
  const disposition = parse(fieldValue(fields, 'content-disposition'), limits, defects);
  const declared = type === null ? null : readMediaType(type.main, defects);
  const contentLocation = fieldValue(fields, 'content-location');
  return {
    header: {
      mediaType: declared ?? (type === null ? defaultMediaType : 'text/plain'),
      declaredMediaType: declared,
      charset: type === null ? null : parameterValue(type.parameters, 'charset', defects),
      disposition: disposition === null ? null : readDisposition(disposition.main),
      fileName: readFileName(disposition, type, defects),
      transferEncoding: readTransferEncoding(fieldValue(fields, 'content-transfer-encoding')),
      contentId: readContentId(fieldValue(fields, 'content-id'), defects),
      contentLocation: contentLocation === null ? null : decodeUndeclaredLatin1(contentLocation, defects),
    },
    boundary: type === null ? null : readBoundary(type),
    limit: type?.tooMany || disposition?.tooMany ? 'maxParameters' : null,
  };
}

/** Null for a field that is absent or empty. */
function parse(value: string | null, limits: MimeLimits, defects: DefectCollector): ParameterizedValue | null {
  return value === null || value.trim() === '' ? null : parseParameters(value, limits.maxParameters, defects);
}

function readMediaType(main: string, defects: DefectCollector): string | null {
  const text = withoutComments(main).trim().toLowerCase();
  if (wholeMediaType.test(text)) return text;
  defects.add('content-type-malformed');
  const spaced = spacedMediaType.exec(text);
  return spaced === null ? null : `${spaced[1]}/${spaced[2]}`;
}

/** An unknown disposition counts as attachment (RFC 2183 §2.8); text after the word without a semicolon is ignored. */
function readDisposition(main: string): string | null {
  const text = stripQuotes(withoutComments(main).trim()).toLowerCase();
  const known = /^(inline|attachment)\b/.exec(text);
  if (known !== null) return known[1] as string;
  return token.test(text) ? text : null;
}

/** Content-Disposition's filename, else Content-Type's name; then the two names in the wrong field. */
function readFileName(
  disposition: ParameterizedValue | null,
  type: ParameterizedValue | null,
  defects: DefectCollector,
): string | null {
  const places = [
    [disposition, 'filename'],
    [disposition, 'name'],
    [type, 'name'],
    [type, 'filename'],
  ] as const;
  for (const [field, name] of places) {
    const value = field === null ? null : parameterValue(field.parameters, name, defects);
    if (value !== null && value.trim() !== '') return value;
  }
  return null;
}

function readTransferEncoding(value: string | null): string {
  if (value === null) return '7bit';
  const text = stripQuotes(withoutComments(value).trim());
  return (text.split(';', 1)[0] as string).trim().toLowerCase() || '7bit';
}

function readContentId(value: string | null, defects: DefectCollector): string | null {
  const text =
    value
      ?.trim()
      .replace(/^<+/, '')
      .replace(/>{1,9}$/, '')
      .trim() ?? '';
  return text === '' ? null : decodeUndeclaredLatin1(text, defects);
}

/** The bytes as sent: a boundary is compared, never shown, so no charset is applied to it. */
function readBoundary(type: ParameterizedValue): string | null {
  const joined = parameterValue(type.parameters, 'boundary', new Set());
  const plain = type.parameters.find((parameter) => parameter.name === 'boundary');
  const text = plain?.value ?? joined ?? '';
  let end = text.length;
  while (end > 0 && (text[end - 1] === ' ' || text[end - 1] === '\t')) end--;
  return end === 0 ? null : text.slice(0, end);
}

function withoutComments(text: string): string {
  return text.includes('(') ? text.replace(/\([^()]*\)/g, '') : text;
}

function stripQuotes(text: string): string {
  let start = 0;
  let end = text.length;
  while (start < end && (text[start] === '"' || text[start] === "'")) start++;
  while (end > start && (text[end - 1] === '"' || text[end - 1] === "'")) end--;
  return text.slice(start, end);
}
