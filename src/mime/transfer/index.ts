/** The decoder for a part, by its Content-Transfer-Encoding and by what its bytes say of it. */
import type { PartHeader } from '../types.ts';
import { createBase64Decoder } from './base64.ts';
import { createDeclaredDecoder } from './declared.ts';
import { type DecoderContext, identityDecoder, type TransferDecoder } from './decoder.ts';
import { createQuotedPrintableDecoder } from './quoted-printable.ts';
import { UndeclaredDecoder } from './undeclared.ts';
import { createUuencodeDecoder } from './uuencode.ts';

/** How the part came to its encoding. */
export interface EncodingOrigin {
  /** It has a Content-Transfer-Encoding of its own. */
  readonly encodingDeclared: boolean;
  /** A multipart around it says base64. */
  readonly inheritsBase64: boolean;
}

export function createPartDecoder(part: PartHeader, origin: EncodingOrigin, context: DecoderContext): TransferDecoder {
  const { mediaType, transferEncoding } = part;
  const decoder = createTransferDecoder(transferEncoding, context);
  const isBase64 = transferEncoding === 'base64';
  if (isBase64 || transferEncoding === 'quoted-printable')
    return createDeclaredDecoder({ decoder, isBase64, isMessage: isMessage(mediaType) }, context);
  if (isIdentity(transferEncoding) && !isMessage(mediaType)) {
    const inherited = origin.inheritsBase64 && !origin.encodingDeclared;
    const isText = mediaType.startsWith('text/');
    const isMailText = isText && part.fileName === null;
    if (inherited || !(isMailText || isEncodedFile(part.fileName)))
      return new UndeclaredDecoder({ inherited, isText }, context);
  }
  return decoder;
}

/** Named as text: that it is base64 is what someone attached. */
function isEncodedFile(fileName: string | null): boolean {
  return fileName !== null && /\.(?:b64|base64|txt|log|json|csv|asc|pem|uue?|mim)$/i.test(fileName.trim());
}

export function createTransferDecoder(transferEncoding: string, context: DecoderContext): TransferDecoder {
  switch (transferEncoding) {
    case 'base64':
      return createBase64Decoder(context);
    case 'quoted-printable':
      return createQuotedPrintableDecoder(context);
    case 'x-uuencode':
    case 'uuencode':
    case 'x-uue':
    case 'uue':
      return createUuencodeDecoder(context);
    default:
      if (!isIdentity(transferEncoding)) context.defects.add('transfer-encoding-unknown');
      return identityDecoder;
  }
}

/** The bytes of the part are those of the mail, so that boundaries inside a message can be seen. */
export function isIdentity(transferEncoding: string): boolean {
  return ['7bit', '8bit', 'binary', ''].includes(transferEncoding);
}

function isMessage(mediaType: string): boolean {
  return mediaType === 'message/rfc822' || mediaType === 'message/global';
}
