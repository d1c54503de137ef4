/**
 * Reads one stream of bytes that is an entity: the mail itself, or a message that lay encoded in it.
 *
 * States of what is being read:
 * - `header`: a header block is held in the window until its end is seen; left to one of the others.
 * - `opening`: the beginning of a body that may be a multipart is held until its boundary has appeared, or is known not
 *   to (see `multipart-opening.ts`); left to `between` or `leaf`.
 * - `leaf`: a part whose bytes go through its decoder as they come; left at the next delimiter line.
 * - `between`: bytes of no part, before the first delimiter of a multipart or after its last; left likewise.
 *
 * Around it lies a stack of frames, outermost first: each open multipart, and each message/rfc822 whose bytes are those
 * of the stream, which are given out while what is inside is read as well. A message that lies encoded in the stream
 * gets a reader of its own behind its decoder. Time: linear in the bytes, for each message that they lie in.
 */
import { type BodyOutcome, createBodyReader } from './body-reader.ts';
import { type DefectCollector, listDefects } from './defects.ts';
import { createDelimiters, type DelimiterMatch } from './delimiters.ts';
import {
  fieldValue,
  findHeader,
  type HeaderField,
  type HeaderKind,
  readFields,
  startsWithField,
} from './header-block.ts';
import { createHeaderReader } from './header-reader.ts';
import { toMailHeader, withoutByteOrderMark } from './mail-header.ts';
import { type Boundary, findBoundary, isFile, maxOpeningBytes } from './multipart-opening.ts';
import { readPartHeader, type TypeChoice } from './part-header.ts';
import type { Arena, TransferDecoder } from './transfer/decoder.ts';
import { createPartDecoder, isIdentity } from './transfer/index.ts';
import type { DefectCode, MailEvent, MimeLimits, PartHeader } from './types.ts';
import { createWindow } from './window.ts';

/** What the reader of a mail has in common with those of the messages that lie encoded in it. */
export interface ReaderContext {
  readonly limits: MimeLimits;
  readonly arena: Arena;
  events: MailEvent[];
  parts: number;
  /** Of the first text part that names one: what raw 8-bit names of other parts are probably written in. */
  textCharset: string | null;
  /** A limit was reached; whoever sees it returns at once. */
  stopped: boolean;
}

export interface EntityReader {
  push(chunk: Uint8Array): void;
  end(): void;
}

/** Where an entity stands, known before its header is. */
export interface Place {
  /** Empty for the mail itself. */
  readonly path: string;
  readonly depth: number;
  readonly messageDepth: number;
  readonly defaultMediaType: string;
  /** As in `PartBegin`. */
  readonly enclosing: readonly string[];
  readonly messagePath: string;
  /** A multipart around it says base64, which a part that says nothing may mean for itself. */
  readonly inheritsBase64: boolean;
  /** The root of a message inside the mail: when it has no byte at all, there is no message. */
  readonly insideMessage: boolean;
}

export const mailPlace: Place = {
  path: '',
  depth: 0,
  messageDepth: 0,
  defaultMediaType: 'text/plain',
  enclosing: [],
  messagePath: '',
  inheritsBase64: false,
  insideMessage: false,
};

interface MultipartFrame {
  readonly kind: 'multipart';
  readonly place: Place;
  readonly mediaType: string;
  readonly boundaries: readonly Boundary[];
  readonly defects: DefectCollector;
  readonly inheritsBase64: boolean;
  /** What its children have as `enclosing`. */
  readonly enclosing: readonly string[];
  children: number;
  seen: boolean;
  /** Nothing but white space stood in it, up to `blankTo`. */
  blank: boolean;
  blankTo: number;
}

/** What is known of a body in the state `opening`. */
interface Opening {
  readonly fields: readonly HeaderField[];
  readonly header: PartHeader;
  readonly declared: boolean;
  /** The declared ones, of which the first that appears counts: a header may have several Content-Type fields. */
  readonly boundaries: readonly string[];
  readonly encodingDeclared: boolean;
  readonly bodyStart: number;
  readonly defects: DefectCollector;
}

interface MessageFrame {
  readonly kind: 'message';
  readonly path: string;
  readonly defects: DefectCollector;
  /** The first byte that has not been given out. */
  from: number;
  sizeBytes: number;
}

interface Leaf {
  readonly path: string;
  readonly decoder: TransferDecoder;
  /** It is declared as base64: no dash belongs to it. */
  readonly isBase64: boolean;
  readonly defects: DefectCollector;
  /** Reads the message that the part carries in encoded form. */
  readonly inner: EntityReader | null;
  from: number;
  sizeBytes: number;
}

const lineFeed = 10;
const carriageReturn = 13;

export function createEntityReader(context: ReaderContext, root: Place): EntityReader {
  const { limits } = context;
  const window = createWindow();
  const delimiters = createDelimiters();
  const header = createHeaderReader(window, delimiters, limits);
  const body = createBodyReader(window, delimiters, limits);
  const frames: (MultipartFrame | MessageFrame)[] = [];

  let state: 'header' | 'opening' | 'leaf' | 'between' = 'header';
  let place = root;
  let opening: Opening | null = null;
  let leaf: Leaf | null = null;
  let messageFrames = 0;

  const emit = (event: MailEvent): void => {
    context.events.push(event);
  };

  const stop = (limit: keyof MimeLimits): void => {
    context.stopped = true;
    emit({ type: 'limit', limit, value: limits[limit] });
  };

  // ---- giving bytes out

  /** `position` without the line end before it, which belongs to the delimiter there (RFC 2046 §5.1.1). */
  const withoutLineEnd = (from: number, position: number): number => {
    const { bytes, base } = window;
    if (position - 1 < from || bytes[position - 1 - base] !== lineFeed) return position;
    return position - 2 >= from && bytes[position - 2 - base] === carriageReturn ? position - 2 : position - 1;
  };

  const giveLeaf = (to: Leaf, position: number): void => {
    if (position <= to.from) return;
    const encoded = window.bytes.subarray(to.from - window.base, position - window.base);
    to.from = position;
    giveDecoded(to, to.decoder.write(encoded));
  };

  const giveDecoded = (to: Leaf, bytes: Uint8Array): void => {
    if (bytes.length === 0) return;
    to.sizeBytes += bytes.length;
    emit({ type: 'part-data', path: to.path, bytes });
    to.inner?.push(bytes);
  };

  const giveMessage = (to: MessageFrame, position: number): void => {
    if (position <= to.from) return;
    const bytes = window.bytes.subarray(to.from - window.base, position - window.base);
    to.from = position;
    to.sizeBytes += bytes.length;
    emit({ type: 'part-data', path: to.path, bytes });
  };

  /** Everything before `position` is sure to be content, but for a line end right before it. */
  const give = (position: number): void => {
    if (leaf !== null) giveLeaf(leaf, withoutLineEnd(leaf.from, position));
    if (messageFrames === 0) return;
    for (const frame of frames) if (frame.kind === 'message') giveMessage(frame, withoutLineEnd(frame.from, position));
  };

  const giveAll = (end: number): void => {
    if (leaf !== null) giveLeaf(leaf, end);
    for (const frame of frames) if (frame.kind === 'message') giveMessage(frame, end);
  };

  const endPart = (part: { path: string; defects: DefectCollector; sizeBytes: number }): void => {
    emit({ type: 'part-end', path: part.path, defects: listDefects(part.defects), sizeBytes: part.sizeBytes });
  };

  const endLeaf = (position: number): void => {
    if (leaf === null) return;
    const ended = leaf;
    giveLeaf(ended, position);
    if (context.stopped) return;
    giveDecoded(ended, ended.decoder.end());
    if (!context.stopped) ended.inner?.end();
    if (context.stopped) return;
    leaf = null;
    endPart(ended);
  };

  // ---- structure

  const endMultipart = (frame: MultipartFrame, defect: DefectCode | null): void => {
    for (const { text, indented } of frame.boundaries) delimiters.close(text, indented);
    if (defect !== null && frame.boundaries.length > 0)
      frame.defects.add(frame.seen ? defect : 'boundary-never-appears');
    const blank = frame.children === 0 && frame.blank;
    emit({ type: 'multipart-end', path: frame.place.path, defects: listDefects(frame.defects), blank });
  };

  /** Ends the frames above `keep`; `endOf` says where the bytes of a message end. */
  const closeFrames = (keep: number, endOf: (from: number) => number): void => {
    if (frames.length <= keep) return;
    const cutFrom = firstMultipart(keep);
    while (frames.length > keep) {
      const frame = frames.pop() as MultipartFrame | MessageFrame;
      if (frame.kind === 'multipart') endMultipart(frame, 'multipart-not-closed');
      else {
        messageFrames--;
        giveMessage(frame, endOf(frame.from));
        if (frames.length > cutFrom) frame.defects.add('multipart-not-closed');
        endPart(frame);
      }
    }
  };

  /** Index of the outermost multipart that ends with the frames above `keep`, and so without its closing delimiter. */
  const firstMultipart = (keep: number): number => {
    let i = keep;
    while (i < frames.length && frames[i]?.kind !== 'multipart') i++;
    return i;
  };

  /** A delimiter [position, after). */
  const delimit = (position: number, after: number, match: DelimiterMatch): void => {
    if (leaf !== null) {
      if (firstMultipart(match.frame + 1) < frames.length) leaf.defects.add('multipart-not-closed');
      endLeaf(withoutLineEnd(leaf.from, position));
    }
    if (context.stopped) return;
    closeFrames(match.frame + 1, (from) => withoutLineEnd(from, position));
    const frame = frames[match.frame] as MultipartFrame;
    frame.seen = true;
    if (match.closing) {
      frames.pop();
      endMultipart(frame, null);
      beginBody('between', after);
    } else beginEntity(childPlace(frame), after);
  };

  const childPlace = (frame: MultipartFrame): Place => ({
    path: `${frame.place.path === '' ? '' : `${frame.place.path}.`}${++frame.children}`,
    depth: frame.place.depth + 1,
    messageDepth: frame.place.messageDepth,
    defaultMediaType: frame.mediaType === 'multipart/digest' ? 'message/rfc822' : 'text/plain',
    enclosing: frame.enclosing,
    messagePath: frame.place.messagePath,
    inheritsBase64: frame.inheritsBase64,
    insideMessage: false,
  });

  const beginEntity = (where: Place, position: number): void => {
    place = where;
    state = 'header';
    header.begin(position, headerKind(where));
  };

  const beginBody = (next: 'opening' | 'leaf' | 'between', position: number): void => {
    state = next;
    body.begin(position, leaf?.isBase64 === true ? 'base64' : 'lines');
  };

  const endHeader = (headerEnd: number, bodyStart: number): void => {
    const held = window.bytes.subarray(header.start() - window.base, headerEnd - window.base);
    const defects: DefectCollector = new Set();
    if (header.isLate()) defects.add('header-late');
    const isMail = place === mailPlace;
    const fields = readFields(isMail ? withoutByteOrderMark(held) : held, defects, limits.maxHeaderFields);
    if (isMail) emit({ type: 'header', header: toMailHeader(fields, defects) });
    // What was odd about the mail's header is told with it, and is no defect of its only part.
    openEntity(fields, bodyStart, isMail ? new Set() : defects);
  };

  const openEntity = (fields: readonly HeaderField[], bodyStart: number, defects: DefectCollector): void => {
    const read = readPartHeader(fields, place.defaultMediaType, limits, defects, context.textCharset);
    const { header: partHeader, boundary, limit } = read;
    const declared = partHeader.mediaType.startsWith('multipart/');
    const reached = limit ?? limitReached(declared || isMessage(partHeader), declared ? boundary : null);
    if (reached !== null) {
      stop(reached);
      return;
    }
    const encodingDeclared = Boolean(fieldValue(fields, 'content-transfer-encoding'));
    const boundaries = boundary === null ? [] : fittingBoundaries([boundary, ...read.otherBoundaries]);
    const isOpen = declared || (boundaries.length > 0 && !isMessage(partHeader));
    if (isOpen)
      beginOpening({ fields, header: partHeader, declared, boundaries, encodingDeclared, bodyStart, defects });
    else openPart(partHeader, bodyStart, defects, encodingDeclared);
  };

  const fittingBoundaries = (boundaries: readonly string[]): readonly string[] =>
    boundaries.filter(({ length }) => length <= limits.maxBoundaryBytes);

  const openPart = (
    partHeader: PartHeader,
    bodyStart: number,
    defects: DefectCollector,
    encodingDeclared: boolean,
  ): void => {
    if (isMessage(partHeader)) openMessage(partHeader, bodyStart, defects);
    else openLeaf(partHeader, bodyStart, defects, { encodingDeclared });
  };

  const limitReached = (nests: boolean, boundary: string | null): keyof MimeLimits | null => {
    if (++context.parts > limits.maxParts) return 'maxParts';
    if (nests && place.depth >= limits.maxDepth) return 'maxDepth';
    return boundary !== null && boundary.length > limits.maxBoundaryBytes ? 'maxBoundaryBytes' : null;
  };

  /** Own delimiters are looked for before the multipart is there; they count as those of the frame it would be. */
  const beginOpening = (of: Opening): void => {
    opening = of;
    for (const boundary of of.boundaries) delimiters.open(boundary, frames.length);
    beginBody('opening', of.bodyStart);
  };

  const endOpening = (of: Opening): void => {
    opening = null;
    for (const boundary of of.boundaries) delimiters.close(boundary);
  };

  const readAgain = (of: Opening, choice: TypeChoice): PartHeader =>
    readPartHeader(of.fields, place.defaultMediaType, limits, of.defects, context.textCharset, choice).header;

  const openMultipart = (of: Opening, boundaries: readonly Boundary[]): void => {
    const { defects, bodyStart, encodingDeclared } = of;
    if (!of.declared && place.depth >= limits.maxDepth) {
      stop('maxDepth');
      return;
    }
    const [first] = boundaries;
    const isConfirmed = boundaries.length === 1 && of.boundaries.length === 1 && first?.text === of.boundaries[0];
    // The one boundary that was looked for has appeared, as in nearly every mail: its delimiters stay open.
    if (isConfirmed && first?.indented === false) opening = null;
    else {
      endOpening(of);
      for (const { text, indented } of boundaries) delimiters.open(text, frames.length, indented);
    }
    const partHeader = of.boundaries.length > 1 && first ? readAgain(of, { boundary: first.text }) : of.header;
    const mediaType = of.declared ? partHeader.mediaType : 'multipart/mixed';
    if (!of.declared) defects.add('multipart-guessed');
    else if (first === undefined) defects.add('boundary-missing');
    frames.push({
      kind: 'multipart',
      place,
      mediaType,
      boundaries,
      defects,
      inheritsBase64: encodingDeclared ? partHeader.transferEncoding === 'base64' : place.inheritsBase64,
      enclosing: [...place.enclosing, mediaType],
      children: 0,
      seen: false,
      blank: true,
      blankTo: bodyStart,
    });
    const ofMultipart = mediaType === partHeader.mediaType ? partHeader : { ...partHeader, mediaType };
    emit({ type: 'multipart-begin', path: place.path, header: ofMultipart });
    state = 'between';
  };

  /** No declared boundary appears at [bodyStart, upTo), which is all of it or as much as is held of one. */
  const openWithoutBoundary = (of: Opening, upTo: number): void => {
    const { bytes, base } = window;
    const held = bytes.subarray(of.bodyStart - base, upTo - base);
    const declared = of.boundaries.map((text) => ({ text, indented: false }));
    const guessed = of.declared || of.header.declaredMediaType === null ? findBoundary(held, limits) : null;
    if (guessed !== null) {
      of.defects.add(guessed.indented ? 'delimiter-indented' : 'boundary-guessed');
      // The declared ones may still appear.
      openMultipart(of, [...declared, guessed]);
      if (!context.stopped) beginBody('between', of.bodyStart);
      return;
    }
    const partHeader = of.declared ? readAgain(of, 'no-multipart') : of.header;
    const stillDeclared = partHeader.mediaType.startsWith('multipart/');
    if (stillDeclared && !isFile(partHeader)) {
      openMultipart(of, declared);
      return;
    }
    endOpening(of);
    if (stillDeclared) of.defects.add('multipart-is-file');
    const mediaType = stillDeclared ? 'application/octet-stream' : partHeader.mediaType;
    openPart({ ...partHeader, mediaType }, of.bodyStart, of.defects, of.encodingDeclared);
  };

  const openMessage = (partHeader: PartHeader, bodyStart: number, defects: DefectCollector): void => {
    if (place.messageDepth >= limits.maxMessageDepth) {
      stop('maxMessageDepth');
      return;
    }
    const path = place.path || '1';
    const inside: Place = {
      ...mailPlace,
      path: `${path}.m`,
      messagePath: `${path}.m`,
      depth: place.depth + 1,
      messageDepth: place.messageDepth + 1,
      insideMessage: true,
    };
    if (isIdentity(partHeader.transferEncoding)) {
      beginPart(partHeader);
      frames.push({ kind: 'message', path, defects, from: bodyStart, sizeBytes: 0 });
      messageFrames++;
      beginEntity(inside, bodyStart);
    } else
      openLeaf(partHeader, bodyStart, defects, { encodingDeclared: true, inner: createEntityReader(context, inside) });
  };

  const openLeaf = (
    partHeader: PartHeader,
    bodyStart: number,
    defects: DefectCollector,
    how: { readonly encodingDeclared: boolean; readonly inner?: EntityReader },
  ): void => {
    const { inheritsBase64 } = place;
    const decoder = createPartDecoder(partHeader, { ...how, inheritsBase64 }, { arena: context.arena, defects });
    if (partHeader.mediaType.startsWith('text/')) context.textCharset ??= partHeader.charset;
    leaf = {
      path: place.path || '1',
      decoder,
      isBase64: partHeader.transferEncoding === 'base64',
      defects,
      inner: how.inner ?? null,
      from: bodyStart,
      sizeBytes: 0,
    };
    beginPart(partHeader);
    beginBody('leaf', bodyStart);
  };

  const beginPart = (partHeader: PartHeader): void => {
    const { enclosing, messagePath } = place;
    const parentMediaType = enclosing.at(-1) ?? null;
    emit({
      type: 'part-begin',
      part: { path: place.path || '1', header: partHeader, parentMediaType, enclosing, messagePath },
    });
  };

  // ---- reading; each returns false when it needs more bytes

  const readHeader = (last: boolean): boolean => {
    const outcome = header.read(last);
    switch (outcome.type) {
      case 'more':
        // A delimiter may begin right where the block does.
        give(header.start());
        return false;
      case 'limit':
        if (place === mailPlace) endMailHeaderEarly(outcome.headerEnd);
        stop(outcome.limit);
        return false;
      case 'end':
        if (place.insideMessage && outcome.bodyStart === header.start()) beginBody('between', outcome.bodyStart);
        else endHeader(outcome.headerEnd, outcome.bodyStart);
        return true;
      case 'delimiter':
        if (!place.insideMessage || outcome.headerEnd !== header.start())
          endHeader(outcome.headerEnd, outcome.headerEnd);
        if (!context.stopped && opening !== null) openWithoutBoundary(opening, outcome.headerEnd);
        if (!context.stopped) delimit(outcome.headerEnd, outcome.after, outcome.match);
        return true;
    }
  };

  /** Who reads the mail wants its subject also when its header is too large. */
  const endMailHeaderEarly = (headerEnd: number): void => {
    const defects: DefectCollector = new Set();
    const held = window.bytes.subarray(header.start() - window.base, headerEnd - window.base);
    emit({
      type: 'header',
      header: toMailHeader(readFields(withoutByteOrderMark(held), defects, limits.maxHeaderFields), defects),
    });
  };

  const readOpening = (of: Opening, last: boolean): boolean => {
    const outcome = body.read(last);
    const bound = of.bodyStart + maxOpeningBytes;
    // While the line at `body.position()` may still be a delimiter, it counts from where it begins.
    const upTo =
      outcome.type === 'delimiter' ? outcome.position : last ? window.base + window.bytes.length : body.position();
    if (outcome.type === 'delimiter' && outcome.match.frame === frames.length && upTo <= bound) {
      const opens = isOwnDelimiter(of, outcome, last);
      if (opens === 'more') return false;
      if (opens) {
        openMultipart(of, [{ text: boundaryOf(of, outcome), indented: false }]);
        noteBlank(outcome.position);
        if (!context.stopped) delimit(outcome.position, outcome.after, outcome.match);
      } else body.begin(outcome.after, 'lines');
      return true;
    }
    if (outcome.type === 'more' && upTo <= bound && !last) return false;
    openWithoutBoundary(of, Math.min(upTo, bound));
    return true;
  };

  /** Which of the declared boundaries the delimiter is of. */
  const boundaryOf = ({ boundaries }: Opening, { position, after }: BodyOutcome & { type: 'delimiter' }): string => {
    if (boundaries.length === 1) return boundaries[0] as string;
    const line = window.bytes.toString('latin1', position - window.base, after - window.base).trimEnd();
    const found = boundaries.find((boundary) => line === `--${boundary}` || line === `--${boundary}--`);
    return found ?? (boundaries[0] as string);
  };

  /** A body that is not said to be a multipart is one only where its delimiter stands before the header of a part. */
  const isOwnDelimiter = (
    of: Opening,
    { after }: BodyOutcome & { type: 'delimiter' },
    last: boolean,
  ): boolean | 'more' => {
    if (of.declared || of.header.declaredMediaType === null) return true;
    const from = after - window.base;
    const found = findHeader(window.bytes, from, last, 'part');
    return found === 'more' ? 'more' : found !== 'none' && startsWithField(window.bytes, from);
  };

  const readBody = (last: boolean): boolean => {
    if (delimiters.isEmpty()) {
      const end = window.base + window.bytes.length;
      noteBlank(end);
      giveAll(end);
      return false;
    }
    const outcome = body.read(last);
    noteBlank(outcome.type === 'more' ? outcome.settled : outcome.position);
    if (outcome.type === 'more') give(outcome.settled);
    else {
      if (outcome.glued) leaf?.defects.add('delimiter-glued');
      delimit(outcome.position, outcome.after, outcome.match);
    }
    return outcome.type === 'delimiter';
  };

  /** Whether anything stands where the first part of a multipart should, looked at up to the first byte that does. */
  const noteBlank = (upTo: number): void => {
    const frame = frames.at(-1);
    if (state !== 'between' || frame?.kind !== 'multipart' || frame.children > 0) return;
    while (frame.blank && frame.blankTo < upTo) frame.blank = isBlank(window.bytes[frame.blankTo++ - window.base]);
  };

  const keepFrom = (): number => {
    let keep = state === 'header' ? header.start() : (opening?.bodyStart ?? bodyPosition());
    if (leaf !== null) keep = Math.min(keep, leaf.from);
    if (messageFrames > 0) for (const frame of frames) if (frame.kind === 'message') keep = Math.min(keep, frame.from);
    return keep;
  };

  /** Without an open multipart there is nothing to look for, and nothing to hold. */
  const bodyPosition = (): number => (delimiters.isEmpty() ? window.base + window.bytes.length : body.position());

  const read = (last: boolean): void => {
    let goOn = true;
    while (goOn && !context.stopped) {
      if (state === 'header') goOn = readHeader(last);
      else goOn = opening === null ? readBody(last) : readOpening(opening, last);
    }
  };

  beginEntity(root, 0);
  return {
    push(chunk) {
      if (chunk.length === 0) return;
      window.append(chunk);
      read(false);
      if (!context.stopped) window.release(keepFrom());
    },
    end() {
      read(true);
      if (context.stopped) return;
      const end = window.base + window.bytes.length;
      if (firstMultipart(0) < frames.length) leaf?.defects.add('multipart-not-closed');
      endLeaf(end);
      if (!context.stopped) closeFrames(0, () => end);
    },
  };
}

function headerKind({ path, defaultMediaType, insideMessage }: Place): HeaderKind {
  // In a digest the empty line is the whole header of a part, and the message's own follows.
  if (defaultMediaType === 'message/rfc822') return 'exact';
  return path === '' || insideMessage ? 'mail' : 'part';
}

function isBlank(byte: number | undefined): boolean {
  return byte === 32 || byte === 9 || byte === 13 || byte === 10;
}

function isMessage({ mediaType }: PartHeader): boolean {
  return mediaType === 'message/rfc822' || mediaType === 'message/global';
}
