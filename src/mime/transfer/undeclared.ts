/**
 * Parts that are base64 without saying so: the multipart around them says it for them, or nobody does and the bytes are
 * those of a file. Held until the whole part, or so much of it that chance is out of the question, has proved it.
 */
import { createBase64Decoder } from './base64.ts';
import { type DecoderContext, identityDecoder } from './decoder.ts';
import { type Choice, HeadDecoder } from './head.ts';
import { beginsNoFile, mayEncodeBinaryFile, startsLikeBinaryFile } from './signatures.ts';

/** More base64 than this without an exception stays base64 to its end. */
const maxHeadBytes = 64 * 1024;

/** Enough for every signature, and few enough to say no at once to what is text. */
const firstBytes = 32;

/** A word of text may be base64 by chance: four letters are. */
const leastCharacters = 12;

const asIs: Choice = { decoder: identityDecoder, skip: 0 };

export class UndeclaredDecoder extends HeadDecoder {
  private readonly inherited: boolean;
  private readonly isText: boolean;
  private readonly context: DecoderContext;

  constructor(o: { readonly inherited: boolean; readonly isText: boolean }, context: DecoderContext) {
    super(maxHeadBytes);
    this.inherited = o.inherited;
    this.isText = o.isText;
    this.context = context;
  }

  protected choose(head: Buffer, whole: boolean): Choice {
    const { inherited, context } = this;
    if (!inherited && head.length > 0 && beginsNoFile(head[0] as number)) return asIs;
    const first = head.toString('latin1', 0, firstBytes).trimStart();
    // Most parts are told by their first characters, and nothing of them need be held.
    if (!inherited && !mayEncodeBinaryFile(first)) return asIs;
    if (!/^[A-Za-z0-9+/=\s]*$/.test(first)) return asIs;
    if (head.length < firstBytes && !whole) return 'more';
    if (!inherited && !startsLikeBinaryFile(Buffer.from(first, 'base64'))) return asIs;
    if (!whole && head.length < maxHeadBytes) return 'more';
    if (!isBase64(head.toString('latin1'), whole)) return asIs;
    if (this.isText && !isReadable(Buffer.from(head.toString('latin1'), 'base64'))) return asIs;
    context.defects.add(inherited ? 'encoding-inherited' : 'encoding-undeclared');
    return { decoder: createBase64Decoder(context), skip: 0 };
  }
}

/** Nothing but base64 and white space, padding at the end only, and whole quanta where the end is known. */
function isBase64(text: string, whole: boolean): boolean {
  const characters = text.replace(/\s+/g, '');
  const padded = /^[A-Za-z0-9+/]*(={0,2})$/.exec(characters);
  if (padded === null || characters.length < leastCharacters) return false;
  return whole ? characters.length % 4 === 0 : padded[1] === '';
}

/** Text has no control characters but white space; what a word decodes to by chance has. */
function isReadable(bytes: Buffer): boolean {
  return bytes.every((byte) => byte >= 32 || byte === 9 || byte === 10 || byte === 12 || byte === 13);
}
