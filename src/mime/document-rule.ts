/**
 * Which leaf part is a document (a file attachment), and why. The one place where that is decided.
 *
 * A leaf is a document when its disposition is attachment, or when it has a file name. Not so: images that the mail
 * shows (disposition inline, or named as `cid:` by the HTML of the multipart/related around them) and the signature of
 * a multipart/signed. A message/rfc822 is judged like any leaf, and the parts inside it on their own.
 */
import { type ContentIdCollector, createContentIdCollector } from './content-ids.ts';
import type { MailEvent, PartBegin } from './types.ts';

export type DocumentReason =
  | 'attachment'
  | 'has-file-name'
  | 'inline-image'
  | 'image-shown-by-html'
  | 'detached-signature'
  | 'no-file-name-and-no-attachment-disposition';

export interface DocumentVerdict {
  readonly document: boolean;
  readonly reason: DocumentReason;
}

const signatureTypes = new Set([
  'application/pkcs7-signature',
  'application/x-pkcs7-signature',
  'application/pgp-signature',
]);

/** `shownByHtml`: HTML inside the multipart/related around the part mentions its Content-ID. */
export function classifyPart(part: PartBegin, shownByHtml: boolean): DocumentVerdict {
  const { mediaType, disposition, fileName } = part.header;
  const image = mediaType.startsWith('image/');
  if (image && disposition === 'inline') return { document: false, reason: 'inline-image' };
  if (image && part.enclosing.includes('multipart/related') && shownByHtml)
    return { document: false, reason: 'image-shown-by-html' };
  if (part.parentMediaType === 'multipart/signed' && signatureTypes.has(mediaType)) {
    return { document: false, reason: 'detached-signature' };
  }
  // An unknown disposition is to be treated as attachment (RFC 2183 §2.8).
  if (disposition !== null && disposition !== 'inline') return { document: true, reason: 'attachment' };
  if (fileName !== null) return { document: true, reason: 'has-file-name' };
  return { document: false, reason: 'no-file-name-and-no-attachment-disposition' };
}

/**
 * The rule over a whole mail. HTML usually comes before the images it shows; when it comes after, the verdict at the
 * beginning of an image is `document` and the one after the end of the mail is not, so ask again for parts that are
 * not `settled`.
 */
export interface DocumentRule {
  /** To be called with every event of the mail, in order, before `verdict` is asked for the part it begins. */
  observe(event: MailEvent): void;
  verdict(part: PartBegin): DocumentVerdict & { readonly settled: boolean };
}

export function createDocumentRule(): DocumentRule {
  const html: ContentIdCollector = createContentIdCollector();
  let ended = false;
  return {
    observe(event) {
      html.observe(event);
      if (event.type === 'end') ended = true;
    },
    verdict(part) {
      const { contentId, mediaType } = part.header;
      const shown = contentId !== null && html.mentions(part.messagePath, contentId);
      const now = classifyPart(part, shown);
      const mayBeShown =
        part.enclosing.includes('multipart/related') && contentId !== null && mediaType.startsWith('image/');
      return { ...now, settled: ended || !now.document || !mayBeShown };
    },
  };
}
