/**
 * Finds the end of a header block in the window, line by line, and keeps its bounds.
 *
 * A line that is no field makes the block doubtful. When more fields follow before an empty line, a line of dashes or
 * the lookahead's end, the line was an accident and is left out; else the body begins with it. Every decision rests on
 * positions, never on what happens to be in the window, so that any cutting of the mail gives the same answer.
 */
import type { DelimiterMatch, Delimiters } from './delimiters.ts';
import { classifyLine, type HeaderLine, looksLikeField, maxFieldNameBytes } from './header-block.ts';
import type { MimeLimits } from './types.ts';
import type { Window } from './window.ts';

export type HeaderOutcome =
  | { readonly type: 'more' }
  /** The block is [start, headerEnd); what follows begins at `bodyStart`. */
  | { readonly type: 'end'; readonly headerEnd: number; readonly bodyStart: number }
  /** A delimiter line [headerEnd, after) ended it. */
  | { readonly type: 'delimiter'; readonly headerEnd: number; readonly after: number; readonly match: DelimiterMatch }
  | { readonly type: 'limit'; readonly headerEnd: number; readonly limit: keyof MimeLimits };

export interface HeaderReader {
  start(): number;
  begin(position: number): void;
  /** `last`: nothing follows what is in the window. */
  read(last: boolean): HeaderOutcome;
}

/** How far the block is searched for a sign that it goes on. */
const maxLookaheadBytes = 64 * 1024;

/** White space behind a delimiter that is still looked at. RFC 2046 allows any amount; transport adds a few bytes. */
const maxDelimiterPaddingBytes = 1024;

/** The longest line that can be a delimiter. */
export function maxDelimiterLineBytes(limits: MimeLimits): number {
  return limits.maxBoundaryBytes + 4 + maxDelimiterPaddingBytes;
}

const lineFeed = 10;
const dash = 45;
const more: HeaderOutcome = { type: 'more' };

export function createHeaderReader(window: Window, delimiters: Delimiters, limits: MimeLimits): HeaderReader {
  const longestDelimiter = maxDelimiterLineBytes(limits);
  /** What a line is can be said of its beginning alone when that is longer than any delimiter and any field name. */
  const tellingBytes = Math.max(longestDelimiter, maxFieldNameBytes) + 8;

  let start = 0;
  /** The line being read, and where its end is looked for. */
  let at = 0;
  let searched = 0;
  let fieldStart = 0;
  let fields = 0;
  let inField = false;
  /** The first line that is no field while the block is doubtful, else -1. */
  let doubtfulFrom = -1;

  const endAt = (headerEnd: number, bodyStart: number): HeaderOutcome =>
    doubtfulFrom < 0
      ? { type: 'end', headerEnd, bodyStart }
      : { type: 'end', headerEnd: doubtfulFrom, bodyStart: doubtfulFrom };

  const exceeded = (limit: keyof MimeLimits): HeaderOutcome => ({ type: 'limit', headerEnd: at, limit });

  /** The bound that was crossed first, were the bytes to come one by one. */
  const checkSizes = (upTo: number, ofField: number): HeaderOutcome | null => {
    const blockLeft = start + limits.maxHeaderBlockBytes;
    const fieldLeft = ofField + limits.maxHeaderFieldBytes;
    if (upTo <= Math.min(blockLeft, fieldLeft)) return null;
    return exceeded(blockLeft <= fieldLeft ? 'maxHeaderBlockBytes' : 'maxHeaderFieldBytes');
  };

  /** Judges a line of which [lineStart, lineEnd) is there, all of it or enough to tell; null when the block goes on. */
  const judge = (kind: HeaderLine, lineStart: number, lineEnd: number, upTo: number): HeaderOutcome | null => {
    if (kind === 'none' || kind === 'dashes') {
      if (at === start || kind === 'dashes') return endAt(at, at);
      return upTo - (doubtfulFrom < 0 ? at : doubtfulFrom) > maxLookaheadBytes ? endDoubt() : null;
    }
    const settles = kind === 'field' && looksLikeField(window.bytes, lineStart, lineEnd);
    if (doubtfulFrom >= 0 && !settles) return upTo - doubtfulFrom > maxLookaheadBytes ? endDoubt() : null;
    if (kind === 'field' && fields >= limits.maxHeaderFields) return exceeded('maxHeaderFields');
    return checkSizes(upTo, kind === 'field' || kind === 'envelope' ? at : fieldStart);
  };

  const endDoubt = (): HeaderOutcome => endAt(at, at);

  /** Takes note of a line that belongs to the block. */
  const pass = (kind: HeaderLine, lineStart: number, lineEnd: number): void => {
    if (kind === 'none') {
      if (doubtfulFrom < 0) doubtfulFrom = at;
      inField = false;
    } else if (kind === 'field') {
      if (looksLikeField(window.bytes, lineStart, lineEnd)) doubtfulFrom = -1;
      inField = true;
      fieldStart = at;
      fields++;
    } else if (kind === 'envelope') inField = false;
  };

  const classify = (lineStart: number, lineEnd: number): HeaderLine =>
    classifyLine(window.bytes, lineStart + markLength(lineStart), lineEnd, inField);

  /** The first line of a mail may have a byte order mark in front. */
  const markLength = (lineStart: number): number => {
    const { bytes } = window;
    return at === 0 && bytes[lineStart] === 0xef && bytes[lineStart + 1] === 0xbb && bytes[lineStart + 2] === 0xbf
      ? 3
      : 0;
  };

  const matchDelimiter = (lineStart: number, lineEnd: number): DelimiterMatch | null => {
    const { bytes } = window;
    if (bytes[lineStart] !== dash || bytes[lineStart + 1] !== dash || lineEnd - lineStart > longestDelimiter)
      return null;
    return delimiters.match(bytes, lineStart, lineEnd);
  };

  const readPartOfLine = (lineStart: number): HeaderOutcome => {
    const lineEnd = window.bytes.length;
    if (lineEnd - lineStart < tellingBytes) return more;
    return judge(classify(lineStart, lineEnd), lineStart, lineEnd, window.base + lineEnd) ?? more;
  };

  const readLine = (lineStart: number, lineEnd: number, next: number): HeaderOutcome | null => {
    const match = matchDelimiter(lineStart, lineEnd);
    if (match !== null) {
      return doubtfulFrom >= 0 ? endDoubt() : { type: 'delimiter', headerEnd: at, after: next, match };
    }
    const kind = classify(lineStart, lineEnd);
    if (kind === 'empty') return endAt(at, next);
    const outcome = judge(kind, lineStart, lineEnd, next);
    if (outcome === null) pass(kind, lineStart, lineEnd);
    return outcome;
  };

  return {
    start: () => start,
    begin(position) {
      start = at = searched = fieldStart = position;
      fields = 0;
      inField = false;
      doubtfulFrom = -1;
    },
    read(last) {
      const { bytes, base } = window;
      for (;;) {
        const lineStart = at - base;
        const found = bytes.indexOf(lineFeed, searched - base);
        if (found < 0 && !last) {
          searched = base + bytes.length;
          return readPartOfLine(lineStart);
        }
        if (lineStart === bytes.length) return endAt(at, at);
        const next = found < 0 ? base + bytes.length : base + found + 1;
        const outcome = readLine(lineStart, found < 0 ? bytes.length : found, next);
        if (outcome !== null) return outcome;
        at = searched = next;
      }
    },
  };
}
