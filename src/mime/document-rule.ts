/**
 * Which leaf part is a document (a file that someone attached), and why. The one place where that is decided; the rule
 * in words is in docs/mime.md.
 *
 * A part is a document when its disposition is attachment, when it has a file name, and also without either when its
 * type is none of the mail's own text or messages: an unnamed application/pdf is an order. Not so: images that the mail
 * shows, signatures, the control part of an encrypted mail, and the text of a multipart/alternative. A message/rfc822 is
 * judged like any leaf, and the parts inside it on their own.
 */
import {
  extensionOf,
  type FirstBytesKind,
  isShownImage,
  kindOfFirstBytes,
  markBytes,
  needsFirstBytes,
  saysNothing,
} from './image-kind.ts';
import { createShownByHtml } from './shown-by-html.ts';
import type { MailEvent, PartBegin, PartHeader } from './types.ts';

/** Every reason, and whether the part is a document for it. */
export const documentReasons = {
  attachment: true,
  'has-file-name': true,
  'unnamed-file': true,
  'inline-image': false,
  'image-shown-by-html': false,
  'detached-signature': false,
  'encryption-control': false,
  'text-in-alternative': false,
  'no-file-name-and-no-attachment-disposition': false,
} as const satisfies Readonly<Record<string, boolean>>;

export type DocumentReason = keyof typeof documentReasons;

export interface DocumentVerdict {
  readonly document: boolean;
  readonly reason: DocumentReason;
}

const signatureTypes = new Set([
  'application/pkcs7-signature',
  'application/x-pkcs7-signature',
  'application/pgp-signature',
  'application/x-pgp-signature',
]);

/** The names that mail programs give to signatures; `order.pdf.asc` is something that someone attached. */
const signatureNames = new Set(['smime.p7s', 'signature.asc', 'openpgp_signature.asc']);
const signatureNameLengths = new Set([...signatureNames].map(({ length }) => length));

/** Without a name, these are what a mail says, not a file. `text/rfc822-headers` is the end of a bounce. */
const mailTextTypes = new Set([
  'text/plain',
  'text/html',
  'text/enriched',
  'text/richtext',
  'text/calendar',
  'text/rfc822-headers',
]);

/**
 * `shownByHtml`: HTML of the same message shows the part. `firstBytes`: what they are, for a part whose type does not say
 * whether it is an image.
 */
export function classifyPart(
  part: PartBegin,
  shownByHtml: boolean,
  firstBytes: FirstBytesKind = 'unknown',
): DocumentVerdict {
  const reason = reasonFor(part, shownByHtml, firstBytes);
  return { document: documentReasons[reason], reason };
}

function reasonFor(part: PartBegin, shownByHtml: boolean, firstBytes: FirstBytesKind): DocumentReason {
  const { mediaType, disposition, fileName } = part.header;
  if (isSignature(part)) return 'detached-signature';
  if (isEncryptionControl(part)) return 'encryption-control';
  if ((disposition === 'inline' || shownByHtml) && isShownImage(part.header, firstBytes)) {
    return disposition === 'inline' ? 'inline-image' : 'image-shown-by-html';
  }
  // An unknown disposition is to be treated as attachment (RFC 2183 §2.8).
  if (disposition !== null && disposition !== 'inline') return 'attachment';
  const named = isName(fileName);
  if (!named && (mailTextTypes.has(mediaType) || mediaType.startsWith('message/'))) {
    return 'no-file-name-and-no-attachment-disposition';
  }
  if (mediaType.startsWith('text/') && isAlternative(part)) return 'text-in-alternative';
  return named ? 'has-file-name' : 'unnamed-file';
}

/** In multipart/signed the second part is the signature whatever its type (RFC 1847 §2.1). */
function isSignature(part: PartBegin): boolean {
  if (part.parentMediaType === 'multipart/signed' && positionOf(part) === 2) return true;
  const { mediaType, fileName } = part.header;
  // What is named .p7m holds the signed file itself, also when it is declared as the signature.
  if (signatureTypes.has(mediaType)) return extensionOf(fileName) !== 'p7m';
  return fileName !== null && isSignatureName(fileName) && saysNothing(part.header);
}

/** Asked for every part with a name, and nearly every name has another length. */
function isSignatureName(fileName: string): boolean {
  const name = fileName.trim();
  return signatureNameLengths.has(name.length) && signatureNames.has(name.toLowerCase());
}

/** The part that says `Version: 1` (RFC 3156 §4). Named and elsewhere, the type is that of an encrypted file. */
function isEncryptionControl(part: PartBegin): boolean {
  if (part.header.mediaType !== 'application/pgp-encrypted') return false;
  const { disposition, fileName } = part.header;
  if (part.parentMediaType === 'multipart/encrypted') return positionOf(part) === 1;
  return !isName(fileName) && (disposition === null || disposition === 'inline');
}

/** One of the forms of the text: a child of multipart/alternative, or the root of a multipart/related that is one. */
function isAlternative(part: PartBegin): boolean {
  const [around, parent] = [part.enclosing.at(-2), part.enclosing.at(-1)];
  if (parent === 'multipart/alternative') return true;
  return parent === 'multipart/related' && around === 'multipart/alternative' && positionOf(part) === 1;
}

/** From 1, within the multipart around it. */
function positionOf(part: PartBegin): number {
  return Number(part.path.slice(part.path.lastIndexOf('.') + 1));
}

/** A name of blanks, control characters and marks that show nothing is none. */
function isName(fileName: string | null): boolean {
  return fileName !== null && /[^\s\p{Cc}\p{Cf}]/u.test(fileName);
}

/**
 * The rule over a whole mail. HTML usually comes before the images it shows; when it comes after, the verdict at the
 * beginning of an image is `document` and the one after the end of the mail is not. The same holds for a part whose type
 * says nothing and whose first bytes are those of an image. So ask again for parts that are not `settled`.
 */
export interface DocumentRule {
  /** To be called with every event of the mail, in order, before `verdict` is asked for the part it begins. */
  observe(event: MailEvent): void;
  verdict(part: PartBegin): DocumentVerdict & { readonly settled: boolean };
}

export function createDocumentRule(): DocumentRule {
  const html = createShownByHtml();
  const firstBytes = createFirstBytes();
  let ended = false;
  return {
    observe(event) {
      html.observe(event);
      firstBytes.observe(event);
      if (event.type === 'end') ended = true;
    },
    verdict(part) {
      const kind = firstBytes.kindOf(part.path);
      const { document, reason } = classifyPart(part, isShownImage(part.header, kind) && html.shows(part), kind);
      // Whatever HTML and bytes are still to come, they can only make it an image that is left out.
      const mayChange = !ended && document && mayBeLeftOut(part.header);
      return { document, reason, settled: !mayChange || !(kind === 'unread' || isShownImage(part.header, kind)) };
    },
  };
}

/** It would be, if it were an image; or HTML may mention it. */
function mayBeLeftOut({ disposition, contentId, contentLocation }: PartHeader): boolean {
  return disposition === 'inline' || contentId !== null || contentLocation !== null;
}

interface FirstBytes {
  observe(event: MailEvent): void;
  kindOf(path: string): FirstBytesKind;
}

/** Keeps the first bytes of the parts for which they count, and then only what they are. */
function createFirstBytes(): FirstBytes {
  const heads = new Map<string, Buffer>();
  const kinds = new Map<string, FirstBytesKind>();
  const settle = (path: string, head: Buffer): void => {
    heads.delete(path);
    kinds.set(path, kindOfFirstBytes(head));
  };
  return {
    observe(event) {
      if (event.type === 'part-begin') {
        const { path, header } = event.part;
        if (mayBeLeftOut(header) && needsFirstBytes(header)) heads.set(path, Buffer.alloc(0));
      } else if (event.type === 'part-data') {
        const head = heads.size === 0 ? undefined : heads.get(event.path);
        if (head === undefined) return;
        const longer = Buffer.concat([head, event.bytes.subarray(0, markBytes - head.length)]);
        if (longer.length < markBytes) heads.set(event.path, longer);
        else settle(event.path, longer);
      } else if (event.type === 'part-end') {
        const head = heads.size === 0 ? undefined : heads.get(event.path);
        if (head !== undefined) settle(event.path, head);
      }
    },
    kindOf(path) {
      if (kinds.size === 0 && heads.size === 0) return 'unknown';
      return kinds.get(path) ?? (heads.has(path) ? 'unread' : 'unknown');
    },
  };
}
