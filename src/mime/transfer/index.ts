/** The decoder for a Content-Transfer-Encoding. One that is not known leaves the bytes as they are. */
import { createBase64Decoder } from './base64.ts';
import { type DecoderContext, identityDecoder, type TransferDecoder } from './decoder.ts';
import { createQuotedPrintableDecoder } from './quoted-printable.ts';
import { createUuencodeDecoder } from './uuencode.ts';

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
