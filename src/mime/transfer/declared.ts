/**
 * Parts that say base64 or quoted-printable, and are not: programs and gateways write the field and leave the bytes as
 * they were. Also base64 behind the prefix of a `data:` URL, as web front ends send it.
 */
import { beginsWithHeader } from '../header-block.ts';
import { type DecoderContext, identityDecoder, type TransferDecoder } from './decoder.ts';
import { type Choice, createHeadDecoder } from './head.ts';
import { startsLikeBinaryFile } from './signatures.ts';

/** Some twenty lines; a `data:` prefix has less than a hundred bytes. */
const maxHeadBytes = 1024;

/** So many characters of the alphabet at the very beginning are base64, or text without blanks that nobody writes. */
const certainBytes = 48;

export function createDeclaredDecoder(
  o: { readonly decoder: TransferDecoder; readonly isBase64: boolean; readonly isMessage: boolean },
  { defects }: DecoderContext,
): TransferDecoder {
  const declared: Choice = { decoder: o.decoder, skip: 0 };
  const untrue = (): Choice => {
    defects.add('encoding-untrue');
    return { decoder: identityDecoder, skip: 0 };
  };

  const chooseBase64 = (head: Buffer, whole: boolean): Choice => {
    if (head.length >= certainBytes && isAlphabet(head, certainBytes)) return declared;
    if (!whole && head.length < maxHeadBytes) return 'more';
    const prefix = /^\s{0,64}data:[^,\s]{0,200};base64,/i.exec(head.toString('latin1', 0, 400));
    if (prefix !== null) {
      defects.add('base64-data-url');
      return { decoder: o.decoder, skip: prefix[0].length };
    }
    return isPlain(head, o.isMessage) ? untrue() : declared;
  };

  const chooseQuotedPrintable = (head: Buffer, whole: boolean): Choice => {
    if (!o.isMessage) return declared;
    if (!whole && head.length < maxHeadBytes) return 'more';
    return beginsWithHeader(head) && isNotQuotedPrintable(head.toString('latin1')) ? untrue() : declared;
  };

  return createHeadDecoder({ maxBytes: maxHeadBytes, choose: o.isBase64 ? chooseBase64 : chooseQuotedPrintable });
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

/** An equals sign that encodes nothing, and none that does. */
function isNotQuotedPrintable(text: string): boolean {
  return /=[^0-9A-Fa-f\s]/.test(text) && !/=3D/i.test(text);
}
