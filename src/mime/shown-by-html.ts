/**
 * Which parts the HTML of a message shows: those whose Content-ID it mentions as `cid:` in any attribute, or whose
 * Content-ID or Content-Location stands where HTML names an image (`<img src>`, `background`, `url()` …). A link to a
 * page or running text shows nothing. Bounded: what lies beyond is not taken note of, so that an image is rather kept than lost.
 */
import { unescapeHex } from './encoded-words.ts';
import { createHeldBytes, type HeldBytes } from './held-bytes.ts';
import { decodeEntities } from './html-entities.ts';
import { createHtmlScanner, type HtmlScanner } from './html-scanner.ts';
import { createHtmlTextReader, type HtmlTextReader } from './html-text.ts';
import type { MailEvent, PartBegin } from './types.ts';

export interface ShownByHtml {
  /** To be called with every event of the mail, in order. */
  observe(event: MailEvent): void;
  /** Whether HTML of the part's own message shows it, as far as that HTML has been read. */
  shows(part: PartBegin): boolean;
}

/** HTML of a mail that is held until someone asks what it shows: that of most mails, which nobody does. */
const maxWaitingBytes = 131_072;

/** A newsletter shows some hundred images; a Content-ID is about 60 characters long. */
const maxMentions = 10_000;
const maxMentionCharacters = 998;

const htmlTypes = new Set(['text/html', 'application/xhtml+xml']);

/** Attributes whose value is the address of something that is shown, on whatever element. */
const showingAttributes = new Set(['src', 'background', 'poster', 'lowsrc', 'dynsrc', 'o:href']);
const sourceSets = new Set(['srcset', 'imagesrcset']);
/** `href` shows an image on these, and is a link elsewhere. */
const svgImages = new Set(['image', 'svg:image', 'feimage']);

/** What the HTML of one message mentions: the keys of `cid:` URLs, and of other addresses. */
interface Mentions {
  readonly contentIds: Set<string>;
  readonly addresses: Set<string>;
}

/** Whether HTML shows a part is asked only when a part has a Content-ID or a Content-Location, so it waits for that. */
interface WaitingHtml {
  readonly part: PartBegin;
  readonly held: HeldBytes;
  ended: boolean;
}

interface OpenHtml {
  readonly text: HtmlTextReader;
  readonly scanner: HtmlScanner;
}

export function createShownByHtml(): ShownByHtml {
  const mentionsOf = new Map<string, Mentions>();
  const open = new Map<string, OpenHtml>();
  let count = 0;
  /** In their order; null once they have been read, and HTML is read as it comes. */
  let waiting: WaitingHtml[] | null = [];
  const waitingByPath = new Map<string, WaitingHtml>();
  let waitingBytes = 0;

  const readWaiting = (): void => {
    if (waiting === null) return;
    const all = waiting;
    waiting = null;
    waitingByPath.clear();
    for (const { part, held, ended } of all) {
      openHtml(part);
      pushHtml(part.path, held.bytes());
      if (ended) endHtml(part.path);
    }
  };

  const hold = (html: WaitingHtml, bytes: Uint8Array): void => {
    html.held.append(bytes);
    waitingBytes += bytes.length;
    if (waitingBytes > maxWaitingBytes) readWaiting();
  };

  const pushHtml = (path: string, bytes: Uint8Array): void => {
    if (count < maxMentions) open.get(path)?.text.push(bytes);
  };

  const endHtml = (path: string): void => {
    const html = open.get(path);
    if (html === undefined) return;
    open.delete(path);
    html.text.end();
    html.scanner.end();
  };

  const openHtml = ({ path, header, messagePath }: PartBegin): void => {
    const mentions = mentionsOf.get(messagePath) ?? { contentIds: new Set(), addresses: new Set() };
    mentionsOf.set(messagePath, mentions);
    let base = header.contentLocation;
    /** A newsletter shows one spacer a thousand times. */
    const known = new Set<string>();

    const mention = (address: string, shown: boolean): void => {
      if (address.length > maxMentionCharacters || count >= maxMentions || known.has(address)) return;
      const text = address.trim();
      const isContentId = isContentIdUrl(text);
      if (text === '' || !(isContentId || shown) || /^data:/i.test(text)) return;
      count++;
      known.add(copied(address));
      add(isContentId ? mentions.contentIds : mentions.addresses, text);
      const whole = isContentId ? null : resolved(text, base);
      if (whole !== null) add(mentions.addresses, whole);
    };

    const scanner = createHtmlScanner({
      attribute(tag, name, value) {
        const read = (): string => decodeEntities(text.decode(value));
        if (showingAttributes.has(name) || (name === 'data' && tag === 'object')) mention(read(), true);
        else if ((name === 'href' || name === 'xlink:href') && svgImages.has(tag)) mention(read(), true);
        else if (name === 'style') {
          if (/url\(/i.test(value)) for (const url of cssUrls(read())) mention(url, true);
        } else if (sourceSets.has(name)) for (const url of sourceSetUrls(read())) mention(url, true);
        else if (name === 'href' && tag === 'base') base = baseAddress(read(), base);
        else if (value.length <= maxMentionCharacters && isContentIdUrl(value.trimStart())) mention(read(), false);
      },
      styleSheet(css) {
        // Most have none, and some 100 KB need no look for their charset then.
        if (/url\(/i.test(css)) for (const url of cssUrls(text.decode(css))) mention(url, true);
      },
    });
    const text = createHtmlTextReader(header.charset, (piece) => scanner.push(piece));
    open.set(path, { text, scanner });
  };

  const begin = (part: PartBegin): void => {
    if (waiting === null) {
      openHtml(part);
      return;
    }
    const html: WaitingHtml = { part, held: createHeldBytes(Number.MAX_SAFE_INTEGER), ended: false };
    waiting.push(html);
    waitingByPath.set(part.path, html);
  };

  return {
    observe(event) {
      if (event.type === 'part-begin') {
        // HTML that is all of its message has no image beside it.
        const { header, enclosing } = event.part;
        if (enclosing.length > 0 && htmlTypes.has(header.mediaType)) begin(event.part);
      } else if (event.type === 'part-data') {
        const html = waitingByPath.size === 0 ? undefined : waitingByPath.get(event.path);
        if (html !== undefined) hold(html, event.bytes);
        else if (open.size > 0) pushHtml(event.path, event.bytes);
      } else if (event.type === 'part-end') {
        const html = waitingByPath.size === 0 ? undefined : waitingByPath.get(event.path);
        if (html !== undefined) {
          html.ended = true;
          waitingByPath.delete(event.path);
        } else if (open.size > 0) endHtml(event.path);
      }
    },
    shows({ header: { contentId, contentLocation }, messagePath }) {
      if (contentId === null && contentLocation === null) return false;
      readWaiting();
      const mentions = mentionsOf.get(messagePath);
      if (mentions === undefined) return false;
      return hasContentId(mentions, contentId ?? '') || hasLocation(mentions, contentLocation ?? '');
    },
  };
}

function add(keys: Set<string>, text: string): void {
  for (const key of keysOf(text)) if (key !== '') keys.add(key);
}

function hasContentId({ contentIds, addresses }: Mentions, contentId: string): boolean {
  return keysOf(contentId).some((key) => key !== '' && (contentIds.has(key) || addresses.has(key)));
}

function hasLocation({ contentIds, addresses }: Mentions, location: string): boolean {
  const known = isContentIdUrl(location.trim()) ? contentIds : addresses;
  return keysOf(location).some((key) => key !== '' && known.has(key));
}

function isContentIdUrl(text: string): boolean {
  return /^cid:/i.test(text);
}

/**
 * What a mention and a header field are compared by: as they stand, and without percent escapes, since HTML carries the
 * URL form of what Content-ID carries as it is. Case and white space do not count: fields are folded at blanks.
 */
function keysOf(text: string): readonly [string, string] {
  const key = plainKey(text);
  return key.includes('%') ? [key, plainKey(withoutPercentEscapes(key))] : [key, key];
}

function plainKey(text: string): string {
  const key = (/\s/.test(text) ? text.replace(/\s/g, '') : text).toLowerCase();
  // Some programs write the scheme into the Content-ID, or twice into the HTML, or the angle brackets into the URL.
  let start = 0;
  while (key.startsWith('cid:', start)) start += 'cid:'.length;
  if (key.startsWith('thismessage:/')) start = 'thismessage:/'.length;
  if (key[start] === '<') start++;
  // A quote that is missing makes the value go on into the next tag.
  const rest = start === 0 ? key : key.slice(start);
  const end = rest.search(/[<>]/);
  return copied(end < 0 ? rest : rest.slice(0, end));
}

function withoutPercentEscapes(key: string): string {
  const bytes = unescapeHex(Buffer.from(key).toString('latin1'), '%', () => undefined);
  return Buffer.from(bytes, 'latin1').toString('utf8');
}

/** A slice would hold the whole text that it was cut from. */
function copied(text: string): string {
  return Buffer.from(text).toString();
}

/** A relative address made absolute by where the HTML lies (RFC 2557 §5); null when it cannot be. */
function resolved(address: string, base: string | null): string | null {
  if (base === null || base.length > maxMentionCharacters || !URL.canParse(address, base)) return null;
  return new URL(address, base).href;
}

/** What `<base href>` says, itself relative to where the HTML lies. */
function baseAddress(href: string, outer: string | null): string | null {
  const address = href.trim();
  if (address === '' || address.length > maxMentionCharacters) return outer;
  return resolved(address, outer) ?? address;
}

/** Candidates of `a.png 1x, b.png 2x`. */
function sourceSetUrls(value: string): readonly string[] {
  return value.split(/[\s,]/).filter((word) => word !== '' && !/^\d+(?:\.\d+)?[wxh]$/.test(word));
}

/** Each address in `url(…)`. Time: linear. */
function* cssUrls(css: string): Iterable<string> {
  const opening = /url\(/gi;
  // A quote or parenthesis that does not come any more is not looked for again.
  const never = new Set<string>();
  for (let match = opening.exec(css); match !== null; match = opening.exec(css)) {
    let start = opening.lastIndex;
    while (css[start] === ' ' || css[start] === '\t' || css[start] === '\r' || css[start] === '\n') start++;
    const quote = css[start] === '"' || css[start] === "'" ? (css[start] as string) : '';
    if (quote !== '') start++;
    const close = quote === '' ? ')' : quote;
    const end = never.has(close) ? -1 : css.indexOf(close, start);
    if (end < 0) never.add(close);
    else {
      yield css.slice(start, end).replaceAll('\\', '');
      opening.lastIndex = end;
    }
  }
}
