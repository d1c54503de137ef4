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
  /** More of its value, cut anywhere. */
  text(bytes: Uint8Array): void;
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
const usualTextBytes = 128;
/** No name of a field. */
const otherNames = ':';

const lineFeed = 10;
const space = 32;

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
      if (!alone) current.append(Buffer.from(`${name}:`, 'latin1'));
    },
    text(bytes) {
      current.append(bytes);
    },
    digest() {
      const ordered = [...texts].sort(([one], [other]) => (one < other ? -1 : 1));
      return hash('sha256', ordered.map(([name, text]) => `${name} ${text.summary()}`).join('\n'));
    },
  };
}

/** The values of a name. A class, because there are several in each mail. */
class Text {
  private buffer = Buffer.allocUnsafe(usualTextBytes);
  private held = 0;
  private length = 0;
  private longHash: Hash | null = null;
  /** White space was met that is put down only when something follows it. */
  private gap = false;
  private inValue = false;

  beginValue(): void {
    this.put(lineFeed);
    this.gap = false;
    this.inValue = false;
  }

  append(bytes: Uint8Array): void {
    for (let i = 0; i < bytes.length; i++) {
      const byte = bytes[i] as number;
      if (isWhiteSpace(byte)) this.gap = true;
      else {
        if (this.gap && this.inValue) this.put(space);
        this.gap = false;
        this.inValue = true;
        this.put(byte);
      }
    }
  }

  /** Its length, and the text or its digest. */
  summary(): string {
    const text = this.buffer.subarray(0, this.held);
    return `${this.length} ${this.longHash === null ? text.toString('latin1') : this.longHash.update(text).digest('hex')}`;
  }

  private put(byte: number): void {
    if (this.held === this.buffer.length) this.makeRoom();
    this.buffer[this.held++] = byte;
    this.length++;
  }

  private makeRoom(): void {
    if (this.held === maxTextBytes) {
      this.longHash ??= createHash('sha256');
      this.longHash.update(this.buffer);
      this.held = 0;
      return;
    }
    const longer = Buffer.allocUnsafe(2 * this.buffer.length);
    this.buffer.copy(longer);
    this.buffer = longer;
  }
}

function isWhiteSpace(byte: number): boolean {
  return byte === space || byte === 9 || byte === 10 || byte === 13;
}
