/**
 * Encoded words of one charset that follow each other. Their bytes are joined, then read in the charset.
 *
 * A word that ends inside a base64 quantum or inside an escape leaves a rest. Either the next word goes on there, or the
 * word was whole and its padding is wrong; what the words of the run have in common tells. Time: linear.
 */
import { countNonsense, decodeText } from './charset.ts';
import type { DefectCollector } from './defects.ts';

export interface WordRun {
  isOpen(): boolean;
  /** Whether a word of that charset belongs to it. */
  takes(charset: string): boolean;
  add(charset: string, encoding: 'B' | 'Q', content: string): void;
  /** The text of all words since it was last ended. */
  end(): string;
}

interface Word {
  readonly encoding: 'B' | 'Q';
  readonly content: string;
}

export function createWordRun(defects: DefectCollector): WordRun {
  let charset: string | null = null;
  let words: Word[] = [];
  return {
    isOpen: () => charset !== null,
    takes: (other) => charset === other,
    add(ofCharset, encoding, content) {
      charset = ofCharset;
      words.push({ encoding, content });
    },
    end() {
      if (charset === null) return '';
      const text = decodeText(decodeWords(words, charset, defects), charset, defects);
      charset = null;
      words = [];
      return text;
    },
  };
}

function decodeWords(words: readonly Word[], charset: string, defects: DefectCollector): Buffer {
  const pieces: Buffer[] = [];
  for (let i = 0; i < words.length; ) {
    const { encoding } = words[i] as Word;
    let end = i;
    while (words[end]?.encoding === encoding) end++;
    const contents = words.slice(i, end).map((word) => word.content);
    pieces.push(encoding === 'B' ? decodeBase64Words(contents, charset, defects) : decodeQWords(contents, defects));
    i = end;
  }
  return pieces.length === 1 ? (pieces[0] as Buffer) : Buffer.concat(pieces);
}

// ---- base64

/** To judge one takes two decodings. A field of a thousand characters has some twenty words. */
const maxJudgedFragments = 100;

/** Characters of the alphabet, and how many "=" follow them. */
interface Fragment {
  readonly text: string;
  readonly padding: number;
}

function decodeBase64Words(contents: readonly string[], charset: string, defects: DefectCollector): Buffer {
  if (areRegular(contents)) return Buffer.from(contents.join(''), 'base64');
  const fragments = contents.flatMap((content) => base64Fragments(content, defects));
  // Each padded as it should be, and text as they stand: that some begin inside a character is no sign of more.
  if (fragments.every(({ text, padding }) => (text.length + padding) % 4 === 0 && canEndWord(text))) {
    const apart = Buffer.concat(fragments.map(({ text }) => Buffer.from(text, 'base64')));
    if (countNonsense(apart, charset) === 0) return apart;
  }
  const judgesSense = fragments.length <= maxJudgedFragments;
  const cutsAnywhere = fragments.some(({ text }) => !canEndWord(text));
  const pieces: Buffer[] = [];
  /** Of the quantum that is not whole. */
  let rest = '';
  let padding = 0;
  let joined = false;
  const flush = () => {
    if (rest !== '' && !canEndWord(rest)) defects.add('encoded-word-malformed');
    if (rest !== '') pieces.push(Buffer.from(rest, 'base64'));
  };
  for (const fragment of fragments) {
    const goesOn: boolean =
      rest !== '' &&
      (!canEndWord(rest) ||
        (padding === 0 && cutsAnywhere) ||
        // Padding of the piece it stands in, not of what was joined.
        (padding > 0 && joined && (rest.length + padding) % 4 !== 0) ||
        (judgesSense && makesMoreSense(rest, fragment.text, charset)));
    if (goesOn) defects.add('encoded-word-cut');
    else flush();
    joined = goesOn;
    const text = goesOn ? rest + fragment.text : fragment.text;
    const whole = text.length - (text.length % 4);
    pieces.push(Buffer.from(text.slice(0, whole), 'base64'));
    rest = text.slice(whole);
    padding = fragment.padding;
  }
  flush();
  return Buffer.concat(pieces);
}

/** Whole quanta, with padding in the last word only: nothing needs the care that words need which were cut anywhere. */
function areRegular(contents: readonly string[]): boolean {
  const last = contents.length - 1;
  for (const [i, content] of contents.entries()) {
    if (content.length % 4 !== 0 || !(i < last ? /^[A-Za-z0-9+/]+$/ : /^[A-Za-z0-9+/]+={0,2}$/).test(content))
      return false;
  }
  const [rest = ''] = (contents[last] as string).slice(-4).split('=', 1);
  return canEndWord(rest);
}

/** Apart where padding divides them: some senders join what they had encoded apart. */
function base64Fragments(content: string, defects: DefectCollector): readonly Fragment[] {
  if (/^[A-Za-z0-9+/]+={0,2}$/.test(content)) {
    const [alphabet = ''] = content.split('=', 1);
    return [{ text: alphabet, padding: content.length - alphabet.length }];
  }
  const text = content
    .replace(/[ \t\r\n]/g, '')
    .replace(/-/g, '+')
    .replace(/_/g, '/');
  const kept = text.replace(/[^A-Za-z0-9+/=]/g, '');
  const fragments = [...kept.matchAll(/([^=]+)(=*)/g)].map(([, alphabet = '', equals = '']) => ({
    text: alphabet,
    padding: equals.length,
  }));
  if (kept !== text || fragments.length > 1) defects.add('encoded-word-malformed');
  return fragments;
}

/**
 * Whether base64 can end so: the unused bits of its last quantum are zero, as an encoder leaves them. By chance they are
 * zero in the middle as well.
 */
function canEndWord(text: string): boolean {
  const rest = text.slice(text.length - (text.length % 4));
  if (rest.length < 2) return rest === '';
  return (rest.length === 2 ? 'AQgw' : 'AEIMQUYcgkosw048').includes(rest.at(-1) as string);
}

/** Whether `next` is better text when it goes on with the quantum that `rest` begins than alone. */
function makesMoreSense(rest: string, next: string, charset: string): boolean {
  const alone = countNonsense(Buffer.from(next, 'base64'), charset);
  return alone > 0 && countNonsense(Buffer.from(rest + next, 'base64'), charset) < alone;
}

// ---- quoted-printable

function decodeQWords(contents: readonly string[], defects: DefectCollector): Buffer {
  const malformed = () => defects.add('encoded-word-malformed');
  const out: string[] = [];
  /** `=`, or `=` and a digit. */
  let rest = '';
  for (const content of contents) {
    let text = rest + content;
    if (rest !== '' && /^=[0-9A-Fa-f]{2}/.test(text)) defects.add('encoded-word-cut');
    // QUIRK: a "=" at the end of a word is the soft line break of quoted-printable.
    else if (rest === '=' && !/^=[0-9A-Fa-f]?$/.test(text)) {
      malformed();
      text = content;
    }
    const tail = /=[0-9A-Fa-f]?$/.exec(text.slice(-2));
    const whole = text.length - (tail === null ? 0 : tail[0].length);
    out.push(decodeQ(text.slice(0, whole), malformed));
    rest = text.slice(whole);
  }
  if (rest !== '') malformed();
  return Buffer.from(out.join('') + rest, 'latin1');
}

function decodeQ(content: string, onMalformed: () => void): string {
  const spaced = content.replaceAll('_', ' ');
  return spaced.includes('=') ? unescapeHex(spaced, '=', onMalformed) : spaced;
}

/** Turns `=41` or `%41` into the character of that byte; an escape that is none stays. */
export function unescapeHex(text: string, mark: '=' | '%', onMalformed: () => void): string {
  let out = '';
  let from = 0;
  for (let at = text.indexOf(mark); at >= 0; at = text.indexOf(mark, Math.max(from, at + 1))) {
    const high = at + 2 < text.length ? hexDigit(text.charCodeAt(at + 1)) : -1;
    const low = high < 0 ? -1 : hexDigit(text.charCodeAt(at + 2));
    if (low < 0) onMalformed();
    else {
      out += text.slice(from, at) + String.fromCharCode((high << 4) | low);
      from = at + 3;
    }
  }
  return out + text.slice(from);
}

/** -1 for what is none. */
function hexDigit(code: number): number {
  if (code >= 48 && code <= 57) return code - 48;
  const lower = code | 32;
  return lower >= 97 && lower <= 102 ? lower - 87 : -1;
}
