/**
 * Parts that say base64 or quoted-printable, and are not: programs and gateways write the field and leave the bytes as
 * they were. Also base64 behind the prefix of a `data:` URL, as web front ends send it.
 */
import type { DefectCollector } from '../defects.ts';
import { beginsWithHeader } from '../header-block.ts';
import { type DecoderContext, identityDecoder, type TransferDecoder } from './decoder.ts';
import { type Choice, HeadDecoder } from './head.ts';
import { startsLikeBinaryFile } from './signatures.ts';

/** Some twenty lines; a `data:` prefix has less than a hundred bytes. */
const maxHeadBytes = 1024;

/** So many characters of the alphabet at the very beginning are base64, or text without blanks that nobody writes. */
const certainBytes = 48;

export function createDeclaredDecoder(
  o: { readonly decoder: TransferDecoder; readonly isBase64: boolean; readonly isMessage: boolean },
  { defects }: DecoderContext,
): TransferDecoder {
  if (o.isBase64) return new DeclaredBase64(o.decoder, o.isMessage, defects);
  return o.isMessage ? new DeclaredQuotedPrintableMessage(o.decoder, defects) : o.decoder;
}

abstract class DeclaredDecoder extends HeadDecoder {
  protected readonly decoder: TransferDecoder;
  protected readonly defects: DefectCollector;

  constructor(decoder: TransferDecoder, defects: DefectCollector) {
    super(maxHeadBytes);
    this.decoder = decoder;
    this.defects = defects;
  }

  protected declared(): Choice {
    return { decoder: this.decoder, skip: 0 };
  }

  protected untrue(): Choice {
    this.defects.add('encoding-untrue');
    return { decoder: identityDecoder, skip: 0 };
  }
}

class DeclaredBase64 extends DeclaredDecoder {
  private readonly isMessage: boolean;

  constructor(decoder: TransferDecoder, isMessage: boolean, defects: DefectCollector) {
    super(decoder, defects);
    this.isMessage = isMessage;
  }

  protected choose(head: Buffer, whole: boolean): Choice {
    if (head.length >= certainBytes && isAlphabet(head, certainBytes)) return this.declared();
    if (!whole && head.length < maxHeadBytes) return 'more';
    const prefix = /^\s{0,64}data:[^,\s]{0,200};base64,/i.exec(head.toString('latin1', 0, 400));
    if (prefix !== null) {
      this.defects.add('base64-data-url');
      return { decoder: this.decoder, skip: prefix[0].length };
    }
    return isPlain(head, this.isMessage) ? this.untrue() : this.declared();
  }
}

class DeclaredQuotedPrintableMessage extends DeclaredDecoder {
  protected choose(head: Buffer, whole: boolean): Choice {
    if (!whole && head.length < maxHeadBytes) return 'more';
    return beginsWithHeader(head) && isNotQuotedPrintable(head.toString('latin1')) ? this.untrue() : this.declared();
  }
}

function isAlphabet(bytes: Buffer, length: number): boolean {
  for (let i = 0; i < length; i++) if (!isBase64Byte(bytes[i] as number)) return false;
  return true;
}

function isBase64Byte(byte: number): boolean {
  return (
    (byte >= 65 && byte <= 90) ||
    (byte >= 97 && byte <= 122) ||
    (byte >= 47 && byte <= 57) ||
    byte === 43 ||
    byte === 61
  );
}

/** Runs of base64 are the length of a line, or of what junk leaves of one; words are shorter. */
const meanWordBytes = 8;
/** What stands between words and numbers; junk in base64 is something else. */
const separators = new Set(Buffer.from(' \t;,:.|<>"\'(){}'));
/** One may be junk. */
const leastSeparators = 2;

/** Text in words, a file's own first bytes, or a header: whatever it is, it is not base64. */
function isPlain(head: Buffer, isMessage: boolean): boolean {
  if (isMessage) return beginsWithHeader(head);
  if (startsLikeBinaryFile(head)) return true;
  if (isEncodedText(head.toString('latin1'))) return false;
  let runs = 0;
  let characters = 0;
  let separatorCount = 0;
  let inRun = false;
  for (const byte of head) {
    const inside = isBase64Byte(byte);
    if (inside) characters++;
    if (inside && !inRun) runs++;
    if (separators.has(byte)) separatorCount++;
    inRun = inside;
  }
  return separatorCount >= leastSeparators && characters / runs < meanWordBytes;
}

/** The first words are whole quanta that end with padding, or all words are: text behind the first is a footer. */
function isEncodedText(text: string): boolean {
  const words = text.trim().split(/\s+/);
  const first = words.findIndex((word) => word.endsWith('='));
  const encoded = (first < 0 ? words : words.slice(0, first + 1)).join('');
  return encoded.length % 4 === 0 && /^[A-Za-z0-9+/]+={0,2}$/.test(encoded);
}

/** An equals sign that encodes nothing, and none that does. */
function isNotQuotedPrintable(text: string): boolean {
  return /=[^0-9A-Fa-f\s]/.test(text) && !/=3D/i.test(text);
}
