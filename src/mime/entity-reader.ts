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
import { type BodyOutcome, type BodyReader, createBodyReader } from './body-reader.ts';
import { type DefectCollector, listDefects } from './defects.ts';
import { createDelimiters, type DelimiterMatch, type Delimiters } from './delimiters.ts';
import {
  fieldValue,
  findHeader,
  type HeaderField,
  type HeaderKind,
  readFields,
  startsWithField,
} from './header-block.ts';
import { createHeaderReader, type HeaderReader } from './header-reader.ts';
import { toMailHeader, withoutByteOrderMark } from './mail-header.ts';
import {
  type Boundary,
  encodedBoundary,
  findBoundary,
  isFile,
  maxOpeningBytes,
  multipartHeader,
} from './multipart-opening.ts';
import { readPartHeader, type TypeChoice } from './part-header.ts';
import type { Arena, TransferDecoder } from './transfer/decoder.ts';
import { createPartDecoder, createTransferDecoder, isIdentity } from './transfer/index.ts';
import type { DefectCode, MailEvent, MimeLimits, PartHeader } from './types.ts';
import { createWindow, type Window } from './window.ts';

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
  /** A closing delimiter with text behind it was met; it ends the part before it, and others may follow. */
  closed: boolean;
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
  /** Reads the message, or the parts, that it carries in encoded form. */
  readonly inner: EntityReader | null;
  /** It is no part of the mail: what counts is inside. */
  readonly isHidden: boolean;
  from: number;
  sizeBytes: number;
}

const lineFeed = 10;
const carriageReturn = 13;

/** `rootDefects`: what is known of the root before it is read. */
export function createEntityReader(
  context: ReaderContext,
  root: Place,
  rootDefects: readonly DefectCode[] = [],
): EntityReader {
  return new Reader(context, root, rootDefects);
}

/** A class, as each mail gets one: optimised code of closures is lost with the last of them that a collection finds. */
class Reader implements EntityReader {
  private readonly context: ReaderContext;
  private readonly limits: MimeLimits;
  private readonly window: Window = createWindow();
  private readonly delimiters: Delimiters = createDelimiters();
  private readonly header: HeaderReader;
  private readonly body: BodyReader;
  private readonly frames: (MultipartFrame | MessageFrame)[] = [];
  private state: 'header' | 'opening' | 'leaf' | 'between' = 'header';
  private readonly root: Place;
  private readonly rootDefects: readonly DefectCode[];
  private place: Place;
  private opening: Opening | null = null;
  private leaf: Leaf | null = null;
  private messageFrames = 0;

  constructor(context: ReaderContext, root: Place, rootDefects: readonly DefectCode[]) {
    this.context = context;
    this.root = root;
    this.rootDefects = rootDefects;
    this.limits = context.limits;
    this.header = createHeaderReader(this.window, this.delimiters, context.limits);
    this.body = createBodyReader(this.window, this.delimiters, context.limits);
    this.place = root;
    this.beginEntity(root, 0);
  }

  push(chunk: Uint8Array): void {
    if (chunk.length === 0) return;
    this.window.append(chunk);
    this.read(false);
    if (!this.context.stopped) this.window.release(this.keepFrom());
  }

  end(): void {
    this.read(true);
    if (this.context.stopped) return;
    const end = this.window.base + this.window.bytes.length;
    if (this.firstMultipart(0) < this.frames.length) this.leaf?.defects.add('multipart-not-closed');
    this.endLeaf(end);
    if (!this.context.stopped) this.closeFrames(0, () => end);
  }

  private emit(event: MailEvent): void {
    this.context.events.push(event);
  }

  private stop(limit: keyof MimeLimits): void {
    this.context.stopped = true;
    this.emit({ type: 'limit', limit, value: this.limits[limit] });
  }

  // ---- giving bytes out

  /** `position` without the line end before it, which belongs to the delimiter there (RFC 2046 §5.1.1). */
  private withoutLineEnd(from: number, position: number): number {
    const { bytes, base } = this.window;
    if (position - 1 < from || bytes[position - 1 - base] !== lineFeed) return position;
    return position - 2 >= from && bytes[position - 2 - base] === carriageReturn ? position - 2 : position - 1;
  }

  private giveLeaf(to: Leaf, position: number): void {
    if (position <= to.from) return;
    const encoded = this.window.bytes.subarray(to.from - this.window.base, position - this.window.base);
    to.from = position;
    this.giveDecoded(to, to.decoder.write(encoded));
  }

  private giveDecoded(to: Leaf, bytes: Uint8Array): void {
    if (bytes.length === 0) return;
    to.sizeBytes += bytes.length;
    if (!to.isHidden) this.emit({ type: 'part-data', path: to.path, bytes });
    to.inner?.push(bytes);
  }

  private giveMessage(to: MessageFrame, position: number): void {
    if (position <= to.from) return;
    const bytes = this.window.bytes.subarray(to.from - this.window.base, position - this.window.base);
    to.from = position;
    to.sizeBytes += bytes.length;
    this.emit({ type: 'part-data', path: to.path, bytes });
  }

  /** Everything before `position` is sure to be content, but for a line end right before it. */
  private give(position: number): void {
    if (this.leaf !== null) this.giveLeaf(this.leaf, this.withoutLineEnd(this.leaf.from, position));
    if (this.messageFrames === 0) return;
    for (const frame of this.frames)
      if (frame.kind === 'message') this.giveMessage(frame, this.withoutLineEnd(frame.from, position));
  }

  private giveAll(end: number): void {
    if (this.leaf !== null) this.giveLeaf(this.leaf, end);
    for (const frame of this.frames) if (frame.kind === 'message') this.giveMessage(frame, end);
  }

  private endPart(part: { path: string; defects: DefectCollector; sizeBytes: number }): void {
    this.emit({ type: 'part-end', path: part.path, defects: listDefects(part.defects), sizeBytes: part.sizeBytes });
  }

  private endLeaf(position: number): void {
    if (this.leaf === null) return;
    const ended = this.leaf;
    this.giveLeaf(ended, position);
    if (this.context.stopped) return;
    this.giveDecoded(ended, ended.decoder.end());
    if (!this.context.stopped) ended.inner?.end();
    if (this.context.stopped) return;
    this.leaf = null;
    if (!ended.isHidden) this.endPart(ended);
  }

  // ---- structure

  private endMultipart(frame: MultipartFrame, defect: DefectCode | null): void {
    for (const { text, indented } of frame.boundaries) this.delimiters.close(text, indented);
    const blank = frame.children === 0 && frame.blank;
    // Bounces carry the header of a mail alone, as a message: that nothing follows it is no news.
    const isHeaderAlone = blank && frame.place.messageDepth > 0;
    if (defect !== null && frame.boundaries.length > 0 && !frame.closed && !isHeaderAlone)
      frame.defects.add(frame.seen ? defect : 'boundary-never-appears');
    this.emit({ type: 'multipart-end', path: frame.place.path, defects: listDefects(frame.defects), blank });
  }

  /** Ends the frames above `keep`; `endOf` says where the bytes of a message end. */
  private closeFrames(keep: number, endOf: (from: number) => number): void {
    if (this.frames.length <= keep) return;
    const cutFrom = this.firstMultipart(keep);
    while (this.frames.length > keep) {
      const frame = this.frames.pop() as MultipartFrame | MessageFrame;
      if (frame.kind === 'multipart') this.endMultipart(frame, 'multipart-not-closed');
      else {
        this.messageFrames--;
        this.giveMessage(frame, endOf(frame.from));
        if (this.frames.length > cutFrom) frame.defects.add('multipart-not-closed');
        this.endPart(frame);
      }
    }
  }

  /** Index of the outermost multipart that ends with the frames above `keep`, and so without its closing delimiter. */
  private firstMultipart(keep: number): number {
    let i = keep;
    while (i < this.frames.length && this.frames[i]?.kind !== 'multipart') i++;
    return i;
  }

  /** A delimiter [position, after). */
  private delimit(position: number, after: number, match: DelimiterMatch): void {
    if (this.leaf !== null) {
      if (this.firstMultipart(match.frame + 1) < this.frames.length) this.leaf.defects.add('multipart-not-closed');
      this.endLeaf(this.withoutLineEnd(this.leaf.from, position));
    }
    if (this.context.stopped) return;
    this.closeFrames(match.frame + 1, (from) => this.withoutLineEnd(from, position));
    const frame = this.frames[match.frame] as MultipartFrame;
    frame.seen = true;
    frame.closed = match.closing;
    if (match.hasText) this.beginBody('between', after);
    else if (match.closing) {
      this.frames.pop();
      this.endMultipart(frame, null);
      this.beginBody('between', after);
    } else this.beginEntity(this.childPlace(frame), after);
  }

  private childPlace(frame: MultipartFrame): Place {
    return {
      path: `${frame.place.path === '' ? '' : `${frame.place.path}.`}${++frame.children}`,
      depth: frame.place.depth + 1,
      messageDepth: frame.place.messageDepth,
      defaultMediaType: frame.mediaType === 'multipart/digest' ? 'message/rfc822' : 'text/plain',
      enclosing: frame.enclosing,
      messagePath: frame.place.messagePath,
      inheritsBase64: frame.inheritsBase64,
      insideMessage: false,
    };
  }

  private beginEntity(where: Place, position: number): void {
    this.place = where;
    this.state = 'header';
    this.header.begin(position, headerKind(where));
  }

  private beginBody(next: 'opening' | 'leaf' | 'between', position: number): void {
    this.state = next;
    // Where delimiters are indented, what stands before them in a line says nothing.
    const isBase64 = this.leaf?.isBase64 === true && !this.delimiters.mayBeIndented();
    this.body.begin(position, isBase64 ? 'base64' : 'lines');
  }

  private endHeader(headerEnd: number, bodyStart: number): void {
    const held = this.window.bytes.subarray(this.header.start() - this.window.base, headerEnd - this.window.base);
    const defects: DefectCollector = new Set(this.place === this.root ? this.rootDefects : []);
    if (this.header.isLate()) defects.add('header-late');
    const isMail = this.place === mailPlace;
    const fields = readFields(isMail ? withoutByteOrderMark(held) : held, defects, this.limits.maxHeaderFields);
    if (isMail) this.emit({ type: 'header', header: toMailHeader(fields, defects) });
    // What was odd about the mail's header is told with it, and is no defect of its only part.
    this.openEntity(fields, bodyStart, isMail ? new Set() : defects);
  }

  private openEntity(fields: readonly HeaderField[], bodyStart: number, defects: DefectCollector): void {
    const found = readPartHeader(fields, this.place.defaultMediaType, this.limits, defects, this.context.textCharset);
    const { header: partHeader, boundary, limit } = found;
    const declared = partHeader.mediaType.startsWith('multipart/');
    const reached = limit ?? this.limitReached(declared || isMessage(partHeader), declared ? boundary : null);
    if (reached !== null) {
      this.stop(reached);
      return;
    }
    const encodingDeclared = Boolean(fieldValue(fields, 'content-transfer-encoding'));
    const boundaries = boundary === null ? [] : this.fittingBoundaries([boundary, ...found.otherBoundaries]);
    // A boundary that is open already is repeated by programs that give every part the same fields.
    const isRepeated = boundaries.some((text) => this.delimiters.has(text));
    const isOpen = declared || (boundaries.length > 0 && maySplit(partHeader) && !isRepeated);
    if (isOpen)
      this.beginOpening({ fields, header: partHeader, declared, boundaries, encodingDeclared, bodyStart, defects });
    else this.openPart(partHeader, bodyStart, defects, encodingDeclared);
  }

  private fittingBoundaries(boundaries: readonly string[]): readonly string[] {
    return boundaries.filter(({ length }) => length <= this.limits.maxBoundaryBytes);
  }

  private openPart(
    partHeader: PartHeader,
    bodyStart: number,
    defects: DefectCollector,
    encodingDeclared: boolean,
  ): void {
    if (isMessage(partHeader)) this.openMessage(partHeader, bodyStart, defects);
    else this.openLeaf(partHeader, bodyStart, defects, { encodingDeclared });
  }

  private limitReached(nests: boolean, boundary: string | null): keyof MimeLimits | null {
    if (++this.context.parts > this.limits.maxParts) return 'maxParts';
    if (nests && this.place.depth >= this.limits.maxDepth) return 'maxDepth';
    return boundary !== null && boundary.length > this.limits.maxBoundaryBytes ? 'maxBoundaryBytes' : null;
  }

  /** Own delimiters are looked for before the multipart is there; they count as those of the frame it would be. */
  private beginOpening(of: Opening): void {
    this.opening = of;
    for (const boundary of of.boundaries) this.delimiters.open(boundary, this.frames.length);
    this.beginBody('opening', of.bodyStart);
  }

  private endOpening(of: Opening): void {
    this.opening = null;
    for (const boundary of of.boundaries) this.delimiters.close(boundary);
  }

  private readAgain(of: Opening, choice: TypeChoice): PartHeader {
    return readPartHeader(
      of.fields,
      this.place.defaultMediaType,
      this.limits,
      of.defects,
      this.context.textCharset,
      choice,
    ).header;
  }

  private openMultipart(of: Opening, boundaries: readonly Boundary[]): void {
    const { defects, bodyStart, encodingDeclared } = of;
    if (!of.declared && this.place.depth >= this.limits.maxDepth) {
      this.stop('maxDepth');
      return;
    }
    const [first] = boundaries;
    const isConfirmed = boundaries.length === 1 && of.boundaries.length === 1 && first?.text === of.boundaries[0];
    // The one boundary that was looked for has appeared, as in nearly every mail: its delimiters stay open.
    if (isConfirmed && first?.indented === false) this.opening = null;
    else {
      this.endOpening(of);
      for (const { text, indented } of boundaries) this.delimiters.open(text, this.frames.length, indented);
    }
    const partHeader = of.boundaries.length > 1 && first ? this.readAgain(of, { boundary: first.text }) : of.header;
    const mediaType = of.declared ? partHeader.mediaType : 'multipart/mixed';
    if (!of.declared) defects.add('multipart-guessed');
    else if (first === undefined) defects.add('boundary-missing');
    this.frames.push({
      kind: 'multipart',
      place: this.place,
      mediaType,
      boundaries,
      defects,
      inheritsBase64: encodingDeclared ? partHeader.transferEncoding === 'base64' : this.place.inheritsBase64,
      enclosing: [...this.place.enclosing, mediaType],
      children: 0,
      seen: false,
      closed: false,
      blank: true,
      blankTo: bodyStart,
    });
    const ofMultipart = mediaType === partHeader.mediaType ? partHeader : { ...partHeader, mediaType };
    this.emit({ type: 'multipart-begin', path: this.place.path, header: ofMultipart });
    this.state = 'between';
  }

  /** No declared boundary appears at [bodyStart, upTo), which is all of it or as much as is held of one. */
  private openWithoutBoundary(of: Opening, upTo: number): void {
    const { bytes, base } = this.window;
    const held = bytes.subarray(of.bodyStart - base, upTo - base);
    const declared = of.boundaries.map((text) => ({ text, indented: false }));
    const guessed = of.declared || of.header.declaredMediaType === null ? findBoundary(held, this.limits) : null;
    if (guessed !== null) {
      of.defects.add(guessed.indented ? 'delimiter-indented' : 'boundary-guessed');
      // The declared ones may still appear.
      this.openMultipart(of, [...declared, guessed]);
      if (!this.context.stopped) this.beginBody('between', of.bodyStart);
      return;
    }
    const partHeader = of.declared ? this.readAgain(of, 'no-multipart') : of.header;
    const stillDeclared = partHeader.mediaType.startsWith('multipart/');
    const encoded = stillDeclared ? encodedBoundary(held, partHeader, of.boundaries) : null;
    if (encoded !== null) {
      this.openEncoded(of, partHeader, encoded);
      return;
    }
    if (stillDeclared && !isFile(partHeader)) {
      this.openMultipart(of, declared);
      return;
    }
    this.endOpening(of);
    if (stillDeclared) of.defects.add('multipart-is-file');
    const mediaType = stillDeclared ? 'application/octet-stream' : partHeader.mediaType;
    this.openPart({ ...partHeader, mediaType }, of.bodyStart, of.defects, of.encodingDeclared);
  }

  private openEncoded(of: Opening, partHeader: PartHeader, boundary: string): void {
    this.endOpening(of);
    const inner = createEntityReader(this.context, { ...this.place }, [...of.defects, 'multipart-encoded']);
    inner.push(multipartHeader(partHeader.mediaType, boundary));
    const defects: DefectCollector = new Set();
    const decoder = createTransferDecoder(partHeader.transferEncoding, { arena: this.context.arena, defects });
    this.leaf = this.leafOf({ decoder, isBase64: true, defects, inner, from: of.bodyStart, isHidden: true });
    this.beginBody('leaf', of.bodyStart);
  }

  private openMessage(partHeader: PartHeader, bodyStart: number, defects: DefectCollector): void {
    if (this.place.messageDepth >= this.limits.maxMessageDepth) {
      this.stop('maxMessageDepth');
      return;
    }
    const path = this.place.path || '1';
    const inside: Place = {
      ...mailPlace,
      path: `${path}.m`,
      messagePath: `${path}.m`,
      depth: this.place.depth + 1,
      messageDepth: this.place.messageDepth + 1,
      insideMessage: true,
    };
    if (isIdentity(partHeader.transferEncoding)) {
      this.beginPart(partHeader);
      this.frames.push({ kind: 'message', path, defects, from: bodyStart, sizeBytes: 0 });
      this.messageFrames++;
      this.beginEntity(inside, bodyStart);
    } else
      this.openLeaf(partHeader, bodyStart, defects, {
        encodingDeclared: true,
        inner: createEntityReader(this.context, inside),
      });
  }

  private openLeaf(
    partHeader: PartHeader,
    bodyStart: number,
    defects: DefectCollector,
    how: { readonly encodingDeclared: boolean; readonly inner?: EntityReader },
  ): void {
    const { inheritsBase64 } = this.place;
    const decoder = createPartDecoder(partHeader, { ...how, inheritsBase64 }, { arena: this.context.arena, defects });
    if (partHeader.mediaType.startsWith('text/')) this.context.textCharset ??= partHeader.charset;
    const isBase64 = partHeader.transferEncoding === 'base64';
    this.leaf = this.leafOf({ decoder, isBase64, defects, inner: how.inner ?? null, from: bodyStart, isHidden: false });
    this.beginPart(partHeader);
    this.beginBody('leaf', bodyStart);
  }

  private leafOf(o: Omit<Leaf, 'path' | 'sizeBytes'>): Leaf {
    return { path: this.place.path || '1', ...o, sizeBytes: 0 };
  }

  private beginPart(partHeader: PartHeader): void {
    const { enclosing, messagePath } = this.place;
    const parentMediaType = enclosing.at(-1) ?? null;
    this.emit({
      type: 'part-begin',
      part: { path: this.place.path || '1', header: partHeader, parentMediaType, enclosing, messagePath },
    });
  }

  // ---- reading; each returns false when it needs more bytes

  private readHeader(last: boolean): boolean {
    const outcome = this.header.read(last);
    switch (outcome.type) {
      case 'more':
        // A delimiter may begin right where the block does.
        this.give(this.header.start());
        return false;
      case 'limit':
        if (this.place === mailPlace) this.endMailHeaderEarly(outcome.headerEnd);
        this.stop(outcome.limit);
        return false;
      case 'end':
        if (this.place.insideMessage && outcome.bodyStart === this.header.start())
          this.beginBody('between', outcome.bodyStart);
        else this.endHeader(outcome.headerEnd, outcome.bodyStart);
        return true;
      case 'delimiter':
        if (!this.place.insideMessage || outcome.headerEnd !== this.header.start())
          this.endHeader(outcome.headerEnd, outcome.headerEnd);
        if (!this.context.stopped && this.opening !== null) this.openWithoutBoundary(this.opening, outcome.headerEnd);
        if (!this.context.stopped) this.delimit(outcome.headerEnd, outcome.after, outcome.match);
        return true;
    }
  }

  /** Who reads the mail wants its subject also when its header is too large. */
  private endMailHeaderEarly(headerEnd: number): void {
    const defects: DefectCollector = new Set();
    const held = this.window.bytes.subarray(this.header.start() - this.window.base, headerEnd - this.window.base);
    this.emit({
      type: 'header',
      header: toMailHeader(readFields(withoutByteOrderMark(held), defects, this.limits.maxHeaderFields), defects),
    });
  }

  private readOpening(of: Opening, last: boolean): boolean {
    const outcome = this.body.read(last);
    const bound = of.bodyStart + maxOpeningBytes;
    // While the line at `body.position()` may still be a delimiter, it counts from where it begins.
    const upTo =
      outcome.type === 'delimiter'
        ? outcome.position
        : last
          ? this.window.base + this.window.bytes.length
          : this.body.position();
    if (outcome.type === 'delimiter' && outcome.match.frame === this.frames.length && upTo <= bound) {
      const opens = this.isOwnDelimiter(of, outcome, last);
      if (opens === 'more') return false;
      // A closing delimiter closes what another boundary may have opened.
      if (opens && outcome.match.closing && of.declared) this.openWithoutBoundary(of, outcome.position);
      else if (opens) this.openAtBoundary(of, outcome);
      else this.body.begin(outcome.after, 'lines');
      return true;
    }
    if (outcome.type === 'more' && upTo <= bound && !last) return false;
    this.openWithoutBoundary(of, Math.min(upTo, bound));
    return true;
  }

  private openAtBoundary(of: Opening, at: BodyOutcome & { type: 'delimiter' }): void {
    this.openMultipart(of, [{ text: this.boundaryOf(of, at), indented: false }]);
    if (this.context.stopped) return;
    // Of a body that did not say multipart, earlier delimiters were passed over: they count as well.
    if (!of.declared) this.beginBody('between', of.bodyStart);
    else {
      this.noteBlank(at.position);
      this.delimit(at.position, at.after, at.match);
    }
  }

  /** Which of the declared boundaries the delimiter is of. */
  private boundaryOf({ boundaries }: Opening, { position, after }: BodyOutcome & { type: 'delimiter' }): string {
    if (boundaries.length === 1) return boundaries[0] as string;
    const line = this.window.bytes.toString('latin1', position - this.window.base, after - this.window.base).trimEnd();
    const found = boundaries.find((boundary) => line === `--${boundary}` || line === `--${boundary}--`);
    return found ?? (boundaries[0] as string);
  }

  /** A body that is not said to be a multipart is one only where its delimiter stands before the header of a part. */
  private isOwnDelimiter(of: Opening, { after }: BodyOutcome & { type: 'delimiter' }, last: boolean): boolean | 'more' {
    if (of.declared || of.header.declaredMediaType === null) return true;
    const from = after - this.window.base;
    const found = findHeader(this.window.bytes, from, last, 'part');
    return found === 'more' ? 'more' : found !== 'none' && startsWithField(this.window.bytes, from);
  }

  private readBody(last: boolean): boolean {
    if (this.delimiters.isEmpty()) {
      const end = this.window.base + this.window.bytes.length;
      this.noteBlank(end);
      this.giveAll(end);
      return false;
    }
    const outcome = this.body.read(last);
    this.noteBlank(outcome.type === 'more' ? outcome.settled : outcome.position);
    if (outcome.type === 'more') this.give(outcome.settled);
    else {
      if (outcome.glued) this.leaf?.defects.add('delimiter-glued');
      this.delimit(outcome.position, outcome.after, outcome.match);
    }
    return outcome.type === 'delimiter';
  }

  /** Whether anything stands where the first part of a multipart should, looked at up to the first byte that does. */
  private noteBlank(upTo: number): void {
    const frame = this.frames.at(-1);
    if (this.state !== 'between' || frame?.kind !== 'multipart' || frame.children > 0) return;
    while (frame.blank && frame.blankTo < upTo)
      frame.blank = isBlank(this.window.bytes[frame.blankTo++ - this.window.base]);
  }

  private keepFrom(): number {
    let keep = this.state === 'header' ? this.header.start() : (this.opening?.bodyStart ?? this.bodyPosition());
    if (this.leaf !== null) keep = Math.min(keep, this.leaf.from);
    if (this.messageFrames > 0)
      for (const frame of this.frames) if (frame.kind === 'message') keep = Math.min(keep, frame.from);
    return keep;
  }

  /** Without an open multipart there is nothing to look for, and nothing to hold. */
  private bodyPosition(): number {
    return this.delimiters.isEmpty() ? this.window.base + this.window.bytes.length : this.body.position();
  }

  private read(last: boolean): void {
    let goOn = true;
    while (goOn && !this.context.stopped) {
      if (this.state === 'header') goOn = this.readHeader(last);
      else goOn = this.opening === null ? this.readBody(last) : this.readOpening(this.opening, last);
    }
  }
}

function headerKind({ path, defaultMediaType, insideMessage }: Place): HeaderKind {
  // In a digest the empty line is the whole header of a part, and the message's own follows.
  if (defaultMediaType === 'message/rfc822') return 'exact';
  return path === '' || insideMessage ? 'mail' : 'part';
}

function isBlank(byte: number | undefined): boolean {
  return byte === 32 || byte === 9 || byte === 13 || byte === 10;
}

/** Nonsense, or the mail's text: a boundary that another type names is that of a file (an archived page, a batch). */
function maySplit({ declaredMediaType, mediaType, fileName, disposition }: PartHeader): boolean {
  return (
    declaredMediaType === null || (mediaType.startsWith('text/') && fileName === null && disposition !== 'attachment')
  );
}

function isMessage({ mediaType }: PartHeader): boolean {
  return mediaType === 'message/rfc822' || mediaType === 'message/global';
}
