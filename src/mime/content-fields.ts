/**
 * The header fields that give a mail its meaning, in one form and as one digest: two mails that differ in them are two
 * mails, and what relays do to a header on its way (other folding, more trace fields, other order) changes nothing.
 *
 * The fields are From, To, Cc, Subject, Date, MIME-Version and every Content-*. Names are compared in any case; of a value
 * every run of white space is one space and none stands at its ends. Fields of one name keep their order and all count;
 * those of different names may change places (RFC 6376 §5.4.2 expects that of relays too).
 */
import { createHash, type Hash, hash } from 'node:crypto';

export interface ContentFields {
  /** A field begins. `name` is lower case. */
  begin(name: string): void;
  /** More of its value, cut anywhere. Shape: a character for each byte. */
  text(latin1: string): void;
  /** After the last field. Units: lower-case hex. */
  digest(): string;
}

const names = new Set(['from', 'to', 'cc', 'subject', 'date', 'mime-version']);

/** `name` in lower case. */
export function isContentField(name: string): boolean {
  return names.has(name) || name.startsWith('content-');
}

/**
 * Names are the sender's to choose, so there is an end to how many are told apart: further ones share one text in the order
 * in which they come. Together with `maxTextBytes` at most 33 KiB are held.
 */
const maxNames = 32;
const maxNameLength = 64;
/** Of a longer text the digest is held. */
const maxTextBytes = 1024;
/** A text that is put together of more takes up more memory for its pieces than for its bytes, until they are joined. */
const maxPieces = 32;
/** No name of a field. */
const otherNames = ':';

/** Owns: at most 33 KiB, whatever it is given. Errors: none. Time: linear. */
export function createContentFields(): ContentFields {
  const texts = new Map<string, Text>();
  let current = new Text();

  const textOf = (name: string): Text => {
    const known = texts.get(name);
    if (known !== undefined) return known;
    const text = new Text();
    texts.set(name, text);
    return text;
  };

  return {
    begin(name) {
      const alone = texts.has(name) || (texts.size < maxNames && name.length <= maxNameLength);
      current = textOf(alone ? name : otherNames);
      current.beginValue();
      if (!alone) current.append(`${name}:`);
    },
    text(latin1) {
      current.append(latin1);
    },
    digest() {
      let lines = '';
      for (const name of [...texts.keys()].sort()) {
        lines += `${lines === '' ? '' : '\n'}${name} ${texts.get(name)?.summary()}`;
      }
      return hash('sha256', lines);
    },
  };
}

/** The values of a name. A class, because there are several in each mail. */
class Text {
  private pieces: string[] = [];
  private held = 0;
  private length = 0;
  private longHash: Hash | null = null;
  /** White space was met that is put down only when something follows it. */
  private gap = false;
  private inValue = false;

  beginValue(): void {
    this.put('\n');
    this.gap = false;
    this.inValue = false;
  }

  append(latin1: string): void {
    let start = 0;
    let end = latin1.length;
    while (start < end && isWhiteSpace(latin1.charCodeAt(start))) start++;
    while (end > start && isWhiteSpace(latin1.charCodeAt(end - 1))) end--;
    this.gap ||= start > 0;
    if (start === end) return;
    if (this.gap && this.inValue) this.put(' ');
    const words = latin1.slice(start, end);
    this.put(severalOrOther.test(words) ? words.replace(whiteSpace, ' ') : words);
    this.inValue = true;
    this.gap = end < latin1.length;
  }

  /** Its length, and the text or its digest. */
  summary(): string {
    const text = this.pieces.join('');
    return `${this.length} ${this.longHash === null ? text : this.longHash.update(text, 'latin1').digest('hex')}`;
  }

  private put(latin1: string): void {
    this.held += latin1.length;
    this.length += latin1.length;
    if (this.pieces.push(latin1) === maxPieces) this.pieces = [this.pieces.join('')];
    if (this.held <= maxTextBytes) return;
    this.longHash ??= createHash('sha256');
    this.longHash.update(this.pieces.join(''), 'latin1');
    this.pieces = [];
    this.held = 0;
  }
}

const whiteSpace = /[ \t\r\n]+/g;
/** What is not one space already. */
const severalOrOther = /[\t\r\n]| {2}/;

function isWhiteSpace(code: number): boolean {
  return code === 32 || code === 9 || code === 10 || code === 13;
}
