/** Watches whether anything could be read of a mail that says it has parts. Spec: Edge Cases, malformed email */
import type { MailEvent } from '../mime/index.ts';
import type { DocumentError } from '../ports/extraction-store.ts';
import { notedOf } from './notes.ts';

export interface Readability {
  observe(event: MailEvent): void;
  /** Why the mail is FAILED although it was read to its end; null when it is not. */
  failure(): DocumentError | null;
}

/**
 * A mail whose root is a multipart, of which no part came out although its body is not blank: what was in it is lost to
 * whoever waits for it. A blank body hides nothing. A multipart message inside a mail does not count: it is there whole.
 */
export function createReadability(): Readability {
  let parts = 0;
  let lost = false;
  let why = '';
  return {
    observe(event) {
      if (event.type === 'part-begin') parts++;
      if (event.type !== 'multipart-end' || event.path !== '') return;
      lost = parts === 0 && !event.blank;
      // Meanings of defects: they hold no word of the sender, so they may be logged.
      why = notedOf(event.defects)
        .map(({ message }) => message)
        .join('; ');
    },
    failure() {
      if (!lost) return null;
      const message = `the mail says it has parts, but none could be found in it${why === '' ? '' : `: ${why}`}`;
      return { code: 'no-part-readable', message };
    },
  };
}
