/**
 * RFC 2047 encoded words, as mail software reads them: anywhere, also inside quotes and inside other text.
 * Neighbours of one charset are joined as bytes first, since many senders cut inside a character; neighbours of one
 * encoding are joined as text where one cannot stand alone, since others cut the encoded text wherever a line is full.
 */
import { decodeUndeclaredLatin1, practicalName, rawIso2022ToUtf8 } from './charset.ts';
import type { DefectCollector } from './defects.ts';
import { createWordRun } from './encoded-word-run.ts';

export { unescapeHex } from './encoded-word-run.ts';

interface WordStart {
  readonly charset: string;
  readonly encoding: 'B' | 'Q';
  readonly contentStart: number;
}

interface WordEnd {
  readonly contentEnd: number;
  readonly next: number;
  /** Its `?=` is not as it should be. */
  readonly bent: boolean;
}

/** The longest registered charset has 45 characters; a language may follow it. */
const maxCharsetLength = 100;

/** `text` carries bytes as Latin-1 code points; `fallback` is the charset of raw bytes in it. Time: linear. */
export function decodeEncodedWords(text: string, defects: DefectCollector, fallback: string | null = null): string {
  const source = rawIso2022ToUtf8(text, defects);
  let open = source.indexOf('=?');
  if (open < 0) return decodeUndeclaredLatin1(source, defects, fallback);
  const out: string[] = [];
  const run = createWordRun(defects);
  let plainFrom = 0;
  while (open >= 0) {
    const start = readStart(source, open);
    const end = start === null ? null : findEnd(source, start);
    if (start === null || end === null) {
      open = source.indexOf('=?', open + 1);
      continue;
    }
    const between = source.slice(plainFrom, open);
    // White space between two encoded words is not shown (RFC 2047 §6.2).
    const plain = between !== '' && !(run.isOpen() && isBlank(between));
    if (plain || !run.takes(start.charset)) out.push(run.end());
    if (plain) out.push(decodeUndeclaredLatin1(between, defects, fallback));
    if (end.bent || start.charset === '') defects.add('encoded-word-malformed');
    run.add(start.charset, start.encoding, source.slice(start.contentStart, end.contentEnd));
    plainFrom = end.next;
    open = source.indexOf('=?', end.next);
  }
  out.push(run.end());
  if (plainFrom < source.length) out.push(decodeUndeclaredLatin1(source.slice(plainFrom), defects, fallback));
  return out.join('');
}

/** Line ends, tabs and other control characters, with the blanks around them, as one blank. */
export function collapseControls(text: string): string {
  if (!/\p{Cc}/u.test(text)) return text;
  return text.replace(/[ \p{Cc}]+/gu, (run) => (/\p{Cc}/u.test(run) ? ' ' : run));
}

/** Whether the whole text is one or more encoded words. */
export function looksEncoded(text: string): boolean {
  return text.trimEnd().endsWith('?=') && readStart(text, text.length - text.trimStart().length) !== null;
}

/** The `=?charset?B?` at `open`; null when there is none. */
function readStart(text: string, open: number): WordStart | null {
  if (text[open] !== '=' || text[open + 1] !== '?') return null;
  let charsetEnd = open + 2;
  const limit = Math.min(text.length, charsetEnd + maxCharsetLength);
  while (charsetEnd < limit && !endsCharset(text.charCodeAt(charsetEnd))) charsetEnd++;
  const encoding = text[charsetEnd + 1]?.toUpperCase();
  if (text[charsetEnd] !== '?' || text[charsetEnd + 2] !== '?') return null;
  if (encoding !== 'B' && encoding !== 'Q') return null;
  // RFC 2231 §5 lets a language follow the charset.
  const charset = text.slice(open + 2, charsetEnd).split('*', 1)[0] as string;
  return { charset: charset === '' ? '' : practicalName(charset) || charset, encoding, contentStart: charsetEnd + 3 };
}

/**
 * Where the word ends: at `?=`; else, before the next word or the end of the text, at a `?=` that folding has split, at
 * a `?` alone, or where its content must have ended. Null when nothing is in it.
 */
function findEnd(text: string, start: WordStart): WordEnd | null {
  let lone: WordEnd | null = null;
  let at = text.indexOf('?', start.contentStart);
  for (; at >= 0; at = text.indexOf('?', at + 1)) {
    // The next word begins without this one having ended, unless this `=` is content and the `?=` after it an end.
    if (text[at - 1] === '=' && at > start.contentStart && readStart(text, at - 1) !== null) break;
    if (text[at + 1] === '=') {
      if (start.encoding === 'Q' && goesOnBehind(text, at)) continue;
      const shared = text[at + 2] === '?' && readStart(text, at + 1) !== null;
      return { contentEnd: at, next: shared ? at + 1 : at + 2, bent: shared };
    }
    lone ??= splitEnd(text, at);
  }
  if (lone !== null) return lone;
  const limit = at < 0 ? text.length : at - 1;
  const contentEnd = start.encoding === 'B' ? endOfBase64(text, start, limit) : endOfQ(text, start, limit);
  return contentEnd === start.contentStart ? null : { contentEnd, next: contentEnd, bent: true };
}

/** QUIRK: a raw question mark before an escape, `Was?=20nun?=`, which only upper case hex and a later end tell. */
function goesOnBehind(text: string, at: number): boolean {
  if (!/^[0-9A-F]{2}$/.test(text.slice(at + 2, at + 4))) return false;
  for (let i = at + 4; i < text.length; i++) {
    const character = text[i] as string;
    if (isBlankCode(text.charCodeAt(i)) || character === '"') return false;
    if (character === '?') return text[i + 1] === '=' && (text[i - 1] !== '=' || readStart(text, i - 1) === null);
  }
  return false;
}

/** A `?` with its `=` behind white space, or without one. */
function splitEnd(text: string, at: number): WordEnd | null {
  let i = at + 1;
  while (i < text.length && isBlankCode(text.charCodeAt(i))) i++;
  if (i > at + 1 && text[i] === '=' && text[i + 1] !== '?') return { contentEnd: at, next: i + 1, bent: true };
  if (i > at + 1 || i === text.length) return { contentEnd: at, next: at + 1, bent: true };
  return null;
}

function endOfBase64(text: string, start: WordStart, limit: number): number {
  let end = start.contentStart;
  while (end < limit && /[A-Za-z0-9+/=]/.test(text[end] as string)) end++;
  return end;
}

/** Content has no blanks, but for senders who leave them in; there are escapes behind them then. */
function endOfQ(text: string, start: WordStart, limit: number): number {
  const content = text.slice(start.contentStart, limit);
  const blank = content.search(/[ \t]/);
  if (blank < 0 || /=[0-9A-F]{2}/.test(content.slice(blank))) return limit;
  return start.contentStart + blank;
}

/** A question mark, an equals sign or white space. */
function endsCharset(code: number): boolean {
  return code === 63 || code === 61 || isBlankCode(code);
}

function isBlank(text: string): boolean {
  for (let i = 0; i < text.length; i++) if (!isBlankCode(text.charCodeAt(i))) return false;
  return true;
}

function isBlankCode(code: number): boolean {
  return code === 32 || code === 9 || code === 13 || code === 10;
}
