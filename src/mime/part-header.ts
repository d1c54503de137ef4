/** What the header of a part says of its content. Spec: RFC 2045 §5–§7, RFC 2183. */
import {
  boundedAddress,
  boundedDescription,
  boundedParameters,
  boundedToken,
  MAX_MEDIA_TYPE_CHARACTERS,
  MAX_REPEATED_FIELDS,
  MAX_TOKEN_CHARACTERS,
} from './bounds.ts';
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
  const contentLocation = bounded(firstFilled(context, 'content-location'), boundedAddress);
  const isAttached = disposition !== null && /^attachment/i.test(disposition.main);
  const isText = !isAttached && (mediaType.startsWith('text/') || mediaType.startsWith('message/'));
  // What describes the mail's own text must not make a file of it.
  const description = isText ? null : bounded(firstFilled(context, 'content-description'), boundedDescription);
  return {
    header: {
      mediaType,
      declaredMediaType: declared,
      charset: type === null ? null : readCharset(type, defects),
      disposition: disposition === null ? null : readDisposition(disposition.main),
      fileName: readFileName({ disposition, type, description, textCharset }, defects),
      transferEncoding: readTransferEncoding(bounded(firstFilled(context, 'content-transfer-encoding'), boundedToken)),
      contentId: readContentId(bounded(firstFilled(context, 'content-id'), boundedAddress), context),
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

/** A value with what was odd in it, which is news only when it is chosen. */
interface Parsed {
  readonly value: ParameterizedValue;
  readonly defects: DefectCollector;
}

/** Of several, a multipart with a boundary, without which its parts are lost; else one that names a file; else the first. */
function chooseContentType(context: Context, choice: TypeChoice): ChosenType {
  const parsed = parsedValues(context, 'content-type');
  if (parsed.length < 2) return { type: chooseNaming(context, parsed), otherBoundaries: [] };
  const boundaries = new Map(parsed.map((one) => [one, multipartBoundary(one.value)]));
  const multiparts = parsed.filter((one) => boundaries.get(one) !== null);
  const others = parsed.filter((one) => boundaries.get(one) === null);
  const chosen =
    typeof choice === 'string' ? multiparts[0] : multiparts.find((one) => boundaries.get(one) === choice.boundary);
  if (chosen === undefined || (choice === 'no-multipart' && others.length > 0))
    return { type: chooseNaming(context, others.length > 0 ? others : parsed), otherBoundaries: [] };
  const otherBoundaries = multiparts.flatMap((one) => (one === chosen ? [] : (boundaries.get(one) ?? [])));
  return { type: chooseNaming(context, [chosen]), otherBoundaries };
}

function multipartBoundary(type: ParameterizedValue): string | null {
  return type.main.toLowerCase().startsWith('multipart/') ? readBoundary(type) : null;
}

/** Of several, one that names a file, else the first. */
function chooseDisposition(context: Context): ParameterizedValue | null {
  return chooseNaming(context, parsedValues(context, 'content-disposition'));
}

/** Null when there is none. */
function chooseNaming({ defects }: Context, parsed: readonly Parsed[]): ParameterizedValue | null {
  let chosen = parsed[0];
  if (parsed.length > 1) chosen = parsed.find(({ value }) => namesFile(value)) ?? chosen;
  if (chosen === undefined) return null;
  if (chosen.defects !== defects) for (const code of chosen.defects) defects.add(code);
  return chosen.value;
}

function parsedValues(context: Context, name: string): readonly Parsed[] {
  const values = filledValues(context, name);
  // Nearly every field stands once, and is chosen.
  if (values.length === 1) return [parse(values[0] as string, context, context.defects)];
  return values.length === 0 ? noParsed : values.map((value) => parse(value, context, new Set()));
}

const noParsed: readonly Parsed[] = [];

function parse(sent: string, { limits, textCharset }: Context, defects: DefectCollector): Parsed {
  const text = boundedParameters(sent);
  if (text.length < sent.length) defects.add('parameter-malformed');
  return { value: parseParameters(text, limits.maxParameters, defects, textCharset), defects };
}

function bounded(value: string | null, bound: (value: string) => string | null): string | null {
  return value === null ? null : bound(value);
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
    else if (values.push(field.value) === MAX_REPEATED_FIELDS) break;
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
  if (main.length > MAX_MEDIA_TYPE_CHARACTERS) {
    const short = stripQuotes(blankComments(main).trim());
    if (short.length > MAX_MEDIA_TYPE_CHARACTERS) {
      defects.add('content-type-malformed');
      return { mediaType: 'application/octet-stream', declared: null };
    }
    return readMediaType(short, defaultMediaType, defects);
  }
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
  if (!token.test(text)) return null;
  return text.length > MAX_TOKEN_CHARACTERS ? 'attachment' : text;
}

/** Null also for what no charset is called. */
function readCharset(type: ParameterizedValue, defects: DefectCollector): string | null {
  const charset = parameterValue(type.parameters, 'charset', defects);
  return charset === null || charset.length > MAX_TOKEN_CHARACTERS ? null : charset;
}

function readTransferEncoding(value: string | null): string {
  if (value === null) return '7bit';
  const regular = value.toLowerCase();
  if (regularEncodings.has(regular)) return regular;
  const text = stripQuotes(blankComments(value).trim());
  return (text.split(';', 1)[0] as string).trim().toLowerCase().slice(0, MAX_TOKEN_CHARACTERS) || '7bit';
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
