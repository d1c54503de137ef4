/**
 * The tokens of an address list: words, quoted strings, comments, bracketed text and the marks that have a meaning.
 * A mark that is never closed is left out, so that it cannot hide the addresses after it.
 * Time: linear, whatever the text. Spec: RFC 5322 §3.2, §3.4.
 */
export type TokenKind = 'word' | 'quoted' | 'comment' | 'bracketed' | '<' | '>' | ',' | ';' | ':' | '@';

export interface Token {
  readonly kind: TokenKind;
  /** Without quotes, parentheses or brackets, and without the backslashes that quote. */
  readonly text: string;
  /** White space or a comment stands before it. */
  readonly gap: boolean;
}

/** RFC 2047 §2 allows 75; some senders put a whole name into one. */
const maxEncodedWordLength = 1_000;

const blanks = ' \t\r\n';
const marks = '<>,;:@';
/** By character code, for each character of each address comes by here. */
const endsWord = new Uint8Array(128);
for (const end of `${blanks}${marks}()"[]`) endsWord[end.charCodeAt(0)] = 1;
const equalsSign = 0x3d;

interface Scanner {
  readonly text: string;
  at: number;
  gap: boolean;
  /** Opening marks that are known to have no closing one in the rest of the text: it is searched only once. */
  readonly unclosed: Set<string>;
}

/** `text` may hold bytes as Latin-1 code points: no byte above 127 has a meaning here. */
export function tokenizeAddresses(text: string): readonly Token[] {
  const scanner: Scanner = { text, at: 0, gap: false, unclosed: new Set() };
  const tokens: Token[] = [];
  while (scanner.at < text.length) {
    if (blanks.includes(text[scanner.at] as string)) {
      scanner.gap = true;
      scanner.at++;
      continue;
    }
    const token = readToken(scanner);
    if (token === null) continue;
    tokens.push(token);
    scanner.gap = token.kind === 'comment';
  }
  return tokens;
}

function readToken(scanner: Scanner): Token | null {
  const character = scanner.text[scanner.at] as string;
  const { gap } = scanner;
  if (marks.includes(character)) {
    scanner.at++;
    return { kind: character as TokenKind, text: character, gap };
  }
  if (character === '"') return readEnclosed(scanner, 'quoted', '"');
  if (character === '(') return readEnclosed(scanner, 'comment', ')');
  if (character === '[') return readEnclosed(scanner, 'bracketed', ']');
  if (character === ')' || character === ']') {
    scanner.at++;
    return null;
  }
  return { kind: 'word', text: readWord(scanner), gap };
}

/** Null, and the cursor behind the opening mark, when the closing one is missing. */
function readEnclosed(scanner: Scanner, kind: TokenKind, close: string): Token | null {
  const { text, at: open, gap, unclosed } = scanner;
  const mark = text[open] as string;
  scanner.at = open + 1;
  if (unclosed.has(mark)) return null;
  const pieces: string[] = [];
  let depth = 1;
  for (let i = open + 1, from = i; i < text.length; i++) {
    const character = text[i];
    const nests = kind === 'comment' && character === mark;
    if (character !== '\\' && character !== close && !nests) continue;
    pieces.push(text.slice(from, i));
    from = i + 1;
    if (character === '\\') i++;
    else if (nests) depth++;
    else if (--depth === 0) {
      scanner.at = i + 1;
      return { kind, text: pieces.join(''), gap };
    }
  }
  unclosed.add(mark);
  return null;
}

function readWord(scanner: Scanner): string {
  const { text, at: start } = scanner;
  let i = start;
  while (i < text.length) {
    // An encoded word may hold any mark, though it must not.
    if (text.charCodeAt(i) === equalsSign && text[i + 1] === '?') i = skipEncodedWord(text, i);
    if (i >= text.length || endsWord[text.charCodeAt(i)] === 1) break;
    i++;
  }
  scanner.at = i;
  return text.slice(start, i);
}

/** Behind the encoded word at `open`, or `open` when there is none. Looks no further than the third `?`, hence linear. */
function skipEncodedWord(text: string, open: number): number {
  const end = Math.min(text.length, open + maxEncodedWordLength);
  let questionMarks = 0;
  for (let i = open + 2; i < end; i++) {
    // Some senders leave blanks in the text itself.
    if (questionMarks < 2 && blanks.includes(text[i] as string)) return open;
    if (text[i] !== '?') continue;
    questionMarks++;
    if (questionMarks > 2) return text[i + 1] === '=' ? i + 2 : open;
  }
  return open;
}
