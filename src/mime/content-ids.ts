/**
 * Which parts of a multipart/related its HTML shows: the Content-IDs that HTML parts mention as `cid:`. Bounded: what
 * lies beyond is not taken note of, so that an image is rather kept than lost.
 */
import { unescapeHex } from './encoded-words.ts';
import type { MailEvent } from './types.ts';

export interface ContentIdCollector {
  /** To be called with every event of the mail, in order. */
  observe(event: MailEvent): void;
  /** Whether HTML inside the multipart/related at `relatedPath` mentions the Content-ID, as far as it has been read. */
  mentions(messagePath: string, contentId: string): boolean;
}

/** A newsletter shows some hundred images; a Content-ID is about 60 characters long. */
const maxMentions = 10_000;
const maxContentIdLength = 998;

const mention = /\bcid:([^"'\s<>)]+)/gi;

export function createContentIdCollector(): ContentIdCollector {
  const mentions = new Map<string, Set<string>>();
  /** The HTML parts being read: where their mentions count, and the end of the text so far, which may be half a mention. */
  const open = new Map<string, { readonly related: string; tail: string }>();
  let count = 0;

  const collect = (related: string, text: string): void => {
    for (const [, id] of text.matchAll(mention)) {
      if (id === undefined || id.length > maxContentIdLength || count >= maxMentions) continue;
      const known = mentions.get(related) ?? new Set();
      mentions.set(related, known.add(normalizeContentId(id.replaceAll('&amp;', '&'))));
      count++;
    }
  };

  return {
    observe(event) {
      if (event.type === 'part-begin') {
        const { path, header, messagePath } = event.part;
        if (header.mediaType === 'text/html') open.set(path, { related: messagePath, tail: ' ' });
      } else if (event.type === 'part-data') {
        const html = open.get(event.path);
        if (html === undefined) return;
        const text =
          html.tail + Buffer.from(event.bytes.buffer, event.bytes.byteOffset, event.bytes.length).toString('latin1');
        const settled = lastTerminator(text);
        collect(html.related, text.slice(0, settled));
        // A longer tail cannot be the beginning of a mention that counts.
        html.tail = text.slice(Math.max(settled, text.length - maxContentIdLength - 8));
      } else if (event.type === 'part-end') {
        const html = open.get(event.path);
        if (html === undefined) return;
        open.delete(event.path);
        collect(html.related, html.tail);
      }
    },
    mentions: (messagePath, contentId) => mentions.get(messagePath)?.has(normalizeContentId(contentId)) === true,
  };
}

/** Lower case and without percent-escapes: HTML carries the URL form of what Content-ID carries as it is. */
function normalizeContentId(id: string): string {
  const bytes = unescapeHex(id, '%', () => undefined);
  return Buffer.from(bytes, 'latin1').toString('utf8').toLowerCase();
}

/** Just before the last character that cannot stand in a mention. */
function lastTerminator(text: string): number {
  let i = text.length;
  while (i > 0 && !' "\'\t\r\n<>)'.includes(text[i - 1] as string)) i--;
  return Math.max(0, i - 1);
}
