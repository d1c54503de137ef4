/**
 * Encoded words of one charset that follow each other. Their bytes are joined, then read in the charset.
 *
 * A word that ends inside a base64 quantum or inside an escape leaves a rest. The next word decides what it is: the
 * beginning of something that goes on there, or, when both words make sense alone, the end of a word. Time: linear.
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

export function createWordRun(defects: DefectCollector): WordRun {
  let charset: string | null = null;
  let pieces: Buffer[] = [];
  /** The end of the last word: up to three characters of base64, or `=`, or `=` and a digit. */
  let rest = '';
  let restEncoding: 'B' | 'Q' = 'B';

  const malformed = () => defects.add('encoded-word-malformed');

  const flushRest = (): void => {
    if (rest === '') return;
    if (restEncoding === 'Q' || !canEndWord(rest)) malformed();
    pieces.push(restEncoding === 'Q' ? Buffer.from(rest, 'latin1') : Buffer.from(rest, 'base64'));
    rest = '';
  };

  const addBase64 = (content: string): void => {
    for (const fragment of base64Fragments(content, malformed)) {
      const joins = rest !== '' && continuesBase64(rest, fragment, charset ?? '');
      if (joins) defects.add('encoded-word-cut');
      else flushRest();
      const text = rest + fragment;
      const whole = text.length - (text.length % 4);
      pieces.push(Buffer.from(text.slice(0, whole), 'base64'));
      rest = text.slice(whole);
      restEncoding = 'B';
    }
  };

  const addQ = (content: string): void => {
    const joins = rest !== '' && /^=[0-9A-Fa-f]{2}/.test(rest + content.slice(0, 2));
    if (joins) defects.add('encoded-word-cut');
    // QUIRK: a "=" at the end of a word is the soft line break of quoted-printable.
    else if (rest === '=') {
      malformed();
      rest = '';
    } else flushRest();
    const text = rest + content;
    const tail = /=[0-9A-Fa-f]?$/.exec(text.slice(-2));
    const whole = text.length - (tail === null ? 0 : tail[0].length);
    pieces.push(decodeQ(text.slice(0, whole), malformed));
    rest = text.slice(whole);
    restEncoding = 'Q';
  };

  return {
    isOpen: () => charset !== null,
    takes: (other) => charset === other,
    add(ofCharset, encoding, content) {
      charset = ofCharset;
      if (encoding !== restEncoding) flushRest();
      if (encoding === 'B') addBase64(content);
      else addQ(content);
    },
    end() {
      if (charset === null) return '';
      flushRest();
      const bytes = pieces.length === 1 ? (pieces[0] as Buffer) : Buffer.concat(pieces);
      const text = decodeText(bytes, charset, defects);
      charset = null;
      pieces = [];
      return text;
    },
  };
}

/** The characters of the alphabet, apart where padding divides them: some senders join what they had encoded apart. */
function base64Fragments(content: string, onMalformed: () => void): readonly string[] {
  const text = content
    .replace(/[ \t\r\n]/g, '')
    .replace(/-/g, '+')
    .replace(/_/g, '/');
  const kept = text.replace(/[^A-Za-z0-9+/=]/g, '');
  if (kept !== text) onMalformed();
  const fragments = kept.split(/=+/).filter((fragment) => fragment !== '');
  if (fragments.length > 1) onMalformed();
  return fragments;
}

/** Whether `next` goes on with the quantum that `rest` begins. */
function continuesBase64(rest: string, next: string, charset: string): boolean {
  if (!canEndWord(rest)) return true;
  // The bits are those of an end, with and without padding, and by chance those of a cut: what makes sense counts.
  return (
    countNonsense(Buffer.from(rest + next, 'base64'), charset) < countNonsense(Buffer.from(next, 'base64'), charset)
  );
}

/** Two or three characters whose unused bits are zero, as an encoder leaves them at the end of what it encodes. */
function canEndWord(rest: string): boolean {
  if (rest.length < 2) return false;
  const bytes = Buffer.from(rest, 'base64');
  return bytes.toString('base64').slice(0, rest.length) === rest;
}

function decodeQ(content: string, onMalformed: () => void): Buffer {
  const spaced = content.replaceAll('_', ' ');
  if (!spaced.includes('=')) return Buffer.from(spaced, 'latin1');
  return Buffer.from(unescapeHex(spaced, '=', onMalformed), 'latin1');
}

/** Turns `=41` or `%41` into the character of that byte; an escape that is none stays. */
export function unescapeHex(text: string, mark: '=' | '%', onMalformed: () => void): string {
  return text.replace(
    mark === '=' ? /=([0-9A-Fa-f]{2})?/g : /%([0-9A-Fa-f]{2})?/g,
    (whole, hex: string | undefined) => {
      if (hex !== undefined) return String.fromCharCode(Number.parseInt(hex, 16));
      onMalformed();
      return whole;
    },
  );
}
