/**
 * Reads one stream of bytes that is an entity: the mail itself, or a message that lay encoded in it.
 *
 * States of what is being read:
 * - `header`: a header block is held in the window until its end is seen; left to one of the others.
 * - `leaf`: a part whose bytes go through its decoder as they come; left at the next delimiter line.
 * - `between`: bytes of no part, before the first delimiter of a multipart or after its last; left likewise.
 *
 * Around it lies a stack of frames, outermost first: each open multipart, and each message/rfc822 whose bytes are those
 * of the stream, which are given out while what is inside is read as well. A message that lies encoded in the stream
 * gets a reader of its own behind its decoder. Time: linear in the bytes, for each message that they lie in.
 */
import { createBodyReader } from './body-reader.ts';
import { type DefectCollector, listDefects } from './defects.ts';
import { createDelimiters, type DelimiterMatch } from './delimiters.ts';
import { type HeaderField, readFields } from './header-block.ts';
import { createHeaderReader } from './header-reader.ts';
import { toMailHeader, withoutByteOrderMark } from './mail-header.ts';
import { readPartHeader } from './part-header.ts';
import type { Arena, TransferDecoder } from './transfer/decoder.ts';
import { createTransferDecoder, isIdentity } from './transfer/index.ts';
import type { DefectCode, MailEvent, MimeLimits, PartHeader } from './types.ts';
import { createWindow } from './window.ts';

/** What the reader of a mail has in common with those of the messages that lie encoded in it. */
export interface ReaderContext {
  readonly limits: MimeLimits;
  readonly arena: Arena;
  events: MailEvent[];
  parts: number;
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
  insideMessage: false,
};

interface MultipartFrame {
  readonly kind: 'multipart';
  readonly place: Place;
  readonly mediaType: string;
  readonly boundary: string | null;
  readonly defects: DefectCollector;
  /** What its children have as `enclosing`. */
  readonly enclosing: readonly string[];
  children: number;
  seen: boolean;
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

  let state: 'header' | 'leaf' | 'between' = 'header';
  let place = root;
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
    if (frame.boundary !== null) delimiters.close(frame.boundary);
    if (defect !== null && frame.boundary !== null) frame.defects.add(frame.seen ? defect : 'boundary-never-appears');
    emit({
      type: 'multipart-end',
      path: frame.place.path,
      defects: listDefects(frame.defects),
      blank: frame.children === 0,
    });
  };

  /** Ends the frames above `keep`; `endOf` says where the bytes of a message end. */
  const closeFrames = (keep: number, endOf: (from: number) => number): void => {
    while (frames.length > keep) {
      const frame = frames.pop() as MultipartFrame | MessageFrame;
      if (frame.kind === 'multipart') endMultipart(frame, 'multipart-not-closed');
      else {
        messageFrames--;
        giveMessage(frame, endOf(frame.from));
        endPart(frame);
      }
    }
  };

  /** A delimiter line [position, after). */
  const delimit = (position: number, after: number, match: DelimiterMatch): void => {
    if (leaf !== null) endLeaf(withoutLineEnd(leaf.from, position));
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
    insideMessage: false,
  });

  const beginEntity = (where: Place, position: number): void => {
    place = where;
    state = 'header';
    header.begin(position);
  };

  const beginBody = (next: 'leaf' | 'between', position: number): void => {
    state = next;
    body.begin(position);
  };

  const endHeader = (headerEnd: number, bodyStart: number): void => {
    const held = window.bytes.subarray(header.start() - window.base, headerEnd - window.base);
    const defects: DefectCollector = new Set();
    const fields = readFields(place === mailPlace ? withoutByteOrderMark(held) : held, defects, limits.maxHeaderFields);
    if (place === mailPlace) emit({ type: 'header', header: toMailHeader(fields, new Set(defects)) });
    openEntity(fields, bodyStart, defects);
  };

  const openEntity = (fields: readonly HeaderField[], bodyStart: number, defects: DefectCollector): void => {
    const { header: partHeader, boundary, limit } = readPartHeader(fields, place.defaultMediaType, limits, defects);
    const isMultipart = partHeader.mediaType.startsWith('multipart/');
    const isMessage = partHeader.mediaType === 'message/rfc822' || partHeader.mediaType === 'message/global';
    const reached = limit ?? limitReached(isMultipart || isMessage, isMessage, boundary);
    if (reached !== null) stop(reached);
    else if (isMultipart) openMultipart(partHeader, boundary, bodyStart, defects);
    else if (isMessage) openMessage(partHeader, bodyStart, defects);
    else openLeaf(partHeader, bodyStart, defects, null);
  };

  const limitReached = (nests: boolean, isMessage: boolean, boundary: string | null): keyof MimeLimits | null => {
    if (++context.parts > limits.maxParts) return 'maxParts';
    if (nests && place.depth >= limits.maxDepth) return 'maxDepth';
    if (isMessage && place.messageDepth >= limits.maxMessageDepth) return 'maxMessageDepth';
    return boundary !== null && boundary.length > limits.maxBoundaryBytes ? 'maxBoundaryBytes' : null;
  };

  const openMultipart = (
    partHeader: PartHeader,
    boundary: string | null,
    bodyStart: number,
    defects: DefectCollector,
  ): void => {
    if (boundary === null) defects.add('boundary-missing');
    else delimiters.open(boundary, frames.length);
    const { mediaType } = partHeader;
    const enclosing = [...place.enclosing, mediaType];
    frames.push({ kind: 'multipart', place, mediaType, boundary, defects, enclosing, children: 0, seen: false });
    emit({ type: 'multipart-begin', path: place.path, header: partHeader });
    beginBody('between', bodyStart);
  };

  const openMessage = (partHeader: PartHeader, bodyStart: number, defects: DefectCollector): void => {
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
    } else openLeaf(partHeader, bodyStart, defects, createEntityReader(context, inside));
  };

  const openLeaf = (
    partHeader: PartHeader,
    bodyStart: number,
    defects: DefectCollector,
    inner: EntityReader | null,
  ): void => {
    const decoder = createTransferDecoder(partHeader.transferEncoding, { arena: context.arena, defects });
    leaf = { path: place.path || '1', decoder, defects, inner, from: bodyStart, sizeBytes: 0 };
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

  const readBody = (last: boolean): boolean => {
    if (delimiters.isEmpty()) {
      giveAll(window.base + window.bytes.length);
      return false;
    }
    const outcome = body.read(last);
    if (outcome.type === 'more') give(outcome.settled);
    else delimit(outcome.position, outcome.after, outcome.match);
    return outcome.type === 'delimiter';
  };

  const keepFrom = (): number => {
    let keep = state === 'header' ? header.start() : bodyPosition();
    if (leaf !== null) keep = Math.min(keep, leaf.from);
    if (messageFrames > 0) for (const frame of frames) if (frame.kind === 'message') keep = Math.min(keep, frame.from);
    return keep;
  };

  /** Without an open multipart there is nothing to look for, and nothing to hold. */
  const bodyPosition = (): number => (delimiters.isEmpty() ? window.base + window.bytes.length : body.position());

  const read = (last: boolean): void => {
    let goOn = true;
    while (goOn && !context.stopped) goOn = state === 'header' ? readHeader(last) : readBody(last);
  };

  header.begin(0);
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
      endLeaf(end);
      if (!context.stopped) closeFrames(0, () => end);
    },
  };
}
