/** What the header of a part says of its content. Spec: RFC 2045 §5–§7, RFC 2183. */
import { decodeUndeclaredLatin1 } from './charset.ts';
import { blankComments } from './comments.ts';
import type { DefectCollector } from './defects.ts';
import { namesFile, readFileName } from './file-name.ts';
import type { HeaderField } from './header-block.ts';
import { parameterValue } from './parameter-values.ts';
import { type ParameterizedValue, parseParameters } from './parameters.ts';
import type { MimeLimits, PartHeader } from './types.ts';

export interface ReadPartHeader {
  readonly header: PartHeader;
  /** As bytes in Latin-1 code points; null when there is none. A type that is no multipart may have one, too. */
  readonly boundary: string | null;
  /** Those of other Content-Type fields that say multipart. */
  readonly otherBoundaries: readonly string[];
  readonly limit: keyof MimeLimits | null;
}

// What nearly every part has. The readers below take it as it is, and give any other value the care that it needs.
const regularMediaType = /^[A-Za-z]+\/[A-Za-z0-9.+-]+$/;
const regularContentId = /^<([!-;=?-~]+)>$/;
const regularEncodings = new Set(['7bit', '8bit', 'binary', 'base64', 'quoted-printable']);

const token = /^[!#$%&'*+.^_`|~0-9a-z-]+$/;
const wholeMediaType = /^[!#$%&'*+.^_`|~0-9a-z-]+\/[!#$%&'*+.^_`|~0-9a-z-]+$/;
const spacedMediaType = /^([!#$%&'*+.^_`|~0-9a-z-]+)\s*\/[\s/]*([!#$%&'*+.^_`|~0-9a-z-]+)/;

/**
 * What is known of the body where several Content-Type fields differ: `multipart` until it has been looked at, then the
 * boundary that appears in it, or that none does.
 */
export type TypeChoice = 'multipart' | 'no-multipart' | { readonly boundary: string };

/** `textCharset`: the charset of the mail's first text part, in which raw bytes are when they are not UTF-8. */
export function readPartHeader(
  fields: readonly HeaderField[],
  defaultMediaType: string,
  limits: MimeLimits,
  defects: DefectCollector,
  textCharset: string | null = null,
  choice: TypeChoice = 'multipart',
): ReadPartHeader {
  const context: Context = { fields, limits, defects, textCharset };
  const { type, otherBoundaries } = chooseContentType(context, choice);
  const disposition = chooseDisposition(context);
  const { mediaType, declared } = readMediaType(type?.main ?? null, defaultMediaType, defects);
  const contentLocation = firstFilled(context, 'content-location');
  const isAttached = disposition !== null && /^attachment/i.test(disposition.main);
  const isText = !isAttached && (mediaType.startsWith('text/') || mediaType.startsWith('message/'));
  // What describes the mail's own text must not make a file of it.
  const description = isText ? null : firstFilled(context, 'content-description');
  return {
    header: {
      mediaType,
      declaredMediaType: declared,
      charset: type === null ? null : parameterValue(type.parameters, 'charset', defects),
      disposition: disposition === null ? null : readDisposition(disposition.main),
      fileName: readFileName({ disposition, type, description, textCharset }, defects),
      transferEncoding: readTransferEncoding(firstFilled(context, 'content-transfer-encoding')),
      contentId: readContentId(firstFilled(context, 'content-id'), context),
      contentLocation: contentLocation === null ? null : decodeUndeclaredLatin1(contentLocation, defects, textCharset),
    },
    boundary: type === null ? null : readBoundary(type),
    otherBoundaries,
    limit: type?.tooMany || disposition?.tooMany ? 'maxParameters' : null,
  };
}

interface Context {
  readonly fields: readonly HeaderField[];
  readonly limits: MimeLimits;
  readonly defects: DefectCollector;
  readonly textCharset: string | null;
}

interface ChosenType {
  readonly type: ParameterizedValue | null;
  readonly otherBoundaries: readonly string[];
}

/** Of several, a multipart with a boundary, without which its parts are lost; else one that names a file; else the first. */
function chooseContentType(context: Context, choice: TypeChoice): ChosenType {
  const values = filledValues(context, 'content-type');
  if (values.length < 2) return { type: chooseNaming(context, values), otherBoundaries: [] };
  const boundaries = new Map(values.map((value) => [value, multipartBoundary(parse(value, context, new Set()))]));
  const multiparts = values.filter((value) => boundaries.get(value) !== null);
  const others = values.filter((value) => boundaries.get(value) === null);
  const chosen =
    typeof choice === 'string' ? multiparts[0] : multiparts.find((v) => boundaries.get(v) === choice.boundary);
  if (chosen === undefined || (choice === 'no-multipart' && others.length > 0))
    return { type: chooseNaming(context, others.length > 0 ? others : values), otherBoundaries: [] };
  const otherBoundaries = multiparts.flatMap((value) => (value === chosen ? [] : (boundaries.get(value) ?? [])));
  return { type: chooseNaming(context, [chosen]), otherBoundaries };
}

function multipartBoundary(type: ParameterizedValue): string | null {
  return type.main.toLowerCase().startsWith('multipart/') ? readBoundary(type) : null;
}

/** Of several, one that names a file, else the first. */
function chooseDisposition(context: Context): ParameterizedValue | null {
  return chooseNaming(context, filledValues(context, 'content-disposition'));
}

/** Null when there is none. What is odd in a field that is not chosen is no news. */
function chooseNaming(context: Context, values: readonly string[]): ParameterizedValue | null {
  let chosen = values[0];
  if (values.length > 1) chosen = values.find((value) => namesFile(parse(value, context, new Set()))) ?? chosen;
  return chosen === undefined ? null : parse(chosen, context, context.defects);
}

function parse(value: string, { limits, textCharset }: Context, defects: DefectCollector): ParameterizedValue {
  return parseParameters(value, limits.maxParameters, defects, textCharset);
}

function firstFilled(context: Context, name: string): string | null {
  return filledValues(context, name)[0] ?? null;
}

/** The values of a field that counts once: those that are not empty, and differ. */
function filledValues({ fields, defects }: Context, name: string): readonly string[] {
  let values: string[] | null = null;
  for (const field of fields) {
    if (field.name !== name) continue;
    if (values === null) values = [field.value];
    else values.push(field.value);
  }
  if (values === null) return noValues;
  if (values.length === 1) return values[0]?.trim() === '' ? noValues : values;
  const distinct = new Map(
    values.toReversed().map((value) => [value.replace(/\s+/g, ' ').trim().toLowerCase(), value]),
  );
  if (distinct.size > 1) defects.add('field-repeated');
  distinct.delete('');
  return [...distinct.values()].toReversed();
}

const noValues: readonly string[] = [];

/** `main`: what stands before the parameters, null without a field. */
function readMediaType(
  main: string | null,
  defaultMediaType: string,
  defects: DefectCollector,
): { readonly mediaType: string; readonly declared: string | null } {
  if (main === null) return { mediaType: defaultMediaType, declared: null };
  if (regularMediaType.test(main)) {
    const mediaType = main.toLowerCase();
    return { mediaType, declared: mediaType };
  }
  const text = wholeMediaType.test(main) ? main : stripQuotes(blankComments(main).trim()).trim().toLowerCase();
  if (wholeMediaType.test(text) && !anything.has(text)) return { mediaType: text, declared: text };
  defects.add('content-type-malformed');
  if (anything.has(text)) return { mediaType: 'application/octet-stream', declared: null };
  const declared = mendMediaType(text);
  return { mediaType: declared ?? 'text/plain', declared };
}

/** Wildcards, which say that a file is there, though not of what type. */
const anything = new Set(['*/*', '*', 'application/*']);

/** Null for nonsense. QUIRK: `application/application/pdf`, `application\pdf`, `application / pdf`. */
function mendMediaType(text: string): string | null {
  const slashed = text.replaceAll('\\', '/').replace(/^application\/application\/(?=.)/, 'application/');
  const spaced = spacedMediaType.exec(slashed);
  return spaced === null ? null : `${spaced[1]}/${spaced[2]}`;
}

/** An unknown disposition counts as attachment (RFC 2183 §2.8); text after the word without a semicolon is ignored. */
function readDisposition(main: string): string | null {
  if (main === 'attachment' || main === 'inline') return main;
  const text = stripQuotes(blankComments(main).trim()).toLowerCase();
  const known = /^(inline|attachment)s?\b/.exec(text);
  if (known !== null) return known[1] as string;
  return token.test(text) ? text : null;
}

function readTransferEncoding(value: string | null): string {
  if (value === null) return '7bit';
  const regular = value.toLowerCase();
  if (regularEncodings.has(regular)) return regular;
  const text = stripQuotes(blankComments(value).trim());
  return (text.split(';', 1)[0] as string).trim().toLowerCase() || '7bit';
}

function readContentId(value: string | null, { defects, textCharset }: Context): string | null {
  if (value === null) return null;
  const regular = regularContentId.exec(value)?.[1];
  if (regular !== undefined) return regular;
  const text = value
    .trim()
    .replace(/^<+/, '')
    .replace(/>{1,9}$/, '')
    .trim();
  return text === '' ? null : decodeUndeclaredLatin1(text, defects, textCharset);
}

/** The bytes as sent: a boundary is compared, never shown, so no charset is applied to it. */
function readBoundary(type: ParameterizedValue): string | null {
  const plain = type.parameters.find((parameter) => parameter.name === 'boundary');
  const text = plain?.value ?? parameterValue(type.parameters, 'boundary', new Set()) ?? '';
  let end = text.length;
  while (end > 0 && (text[end - 1] === ' ' || text[end - 1] === '\t')) end--;
  return end === 0 ? null : text.slice(0, end);
}

function stripQuotes(text: string): string {
  let start = 0;
  let end = text.length;
  while (start < end && (text[start] === '"' || text[start] === "'")) start++;
  while (end > start && (text[end - 1] === '"' || text[end - 1] === "'")) end--;
  return text.slice(start, end);
}
