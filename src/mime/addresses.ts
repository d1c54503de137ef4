/**
 * Address lists: mailboxes, groups (shown as their members), comments, quoted names, the obsolete routes. Read the way
 * long-lived mail software does, so that a list without commas still falls into its addresses, and so that addresses
 * come out of what senders do to them: encoded or quoted together with their names, in too many brackets, as `mailto:`.
 * What stands in angle brackets counts before any other text. Time: linear, whatever the text.
 * Spec: RFC 5322 §3.4, §4.4.
 */
import { type Token, tokenizeAddresses } from './address-tokens.ts';
import {
  cleanAddress,
  type Decode,
  groupTokens,
  hasTwoAts,
  isAddress,
  isAt,
  isScheme,
  phraseOf,
  spellAddress,
  type TokenGroup,
} from './address-words.ts';
import type { DefectCollector } from './defects.ts';
import { decodeEncodedWords } from './encoded-words.ts';
import type { MailAddress } from './types.ts';

/** A field of 256 KB could hold 128,000 addresses of one letter; what is shown of a mail needs no more than this. */
const maxAddresses = 5_000;

/** An encoded word that holds a quoted string that holds a mailbox: nothing real is wrapped deeper. */
const maxUnwrappings = 2;

/** `text` carries bytes as Latin-1 code points. */
export function parseAddresses(text: string, defects: DefectCollector): readonly MailAddress[] {
  const regular = parseRegular(text);
  if (regular !== null) return regular;
  const decode: Decode = (raw) => decodeEncodedWords(raw, defects);
  const list = readList(tokenizeAddresses(text), { decode, unwrappings: 0, defects });
  const addresses: MailAddress[] = [];
  for (const mailbox of list) {
    if (addresses.length === maxAddresses) break;
    const name = nameOf(mailbox).trim();
    if (name === '' && mailbox.address === '') continue;
    if (!isAddress(mailbox.address)) defects.add('address-malformed');
    addresses.push({ name: name === '' ? null : name, address: mailbox.address });
  }
  return addresses;
}

/** `a@x.example`, `Jane Doe <a@x.example>` or `"Doe, Jane" <a@x.example>`, and a comma or the end behind it. */
const regularMailbox =
  /(?:([\w.+=-]+@[\w-]+(?:\.[\w-]+)*)|(?:((?:[A-Za-z0-9.-]+ )*)|"([ !#-<>-[\]-~]*)" ?)<([\w.+=-]+@[\w-]+(?:\.[\w-]+)*)>)(?:, *|$)/y;

/** Nine of ten fields: a list of such mailboxes, read in a tenth of the time; null for any other. The long way gives the same. */
function parseRegular(text: string): readonly MailAddress[] | null {
  const addresses: MailAddress[] = [];
  for (let at = 0; at < text.length; at = regularMailbox.lastIndex) {
    regularMailbox.lastIndex = at;
    const match = regularMailbox.exec(text);
    if (match === null || addresses.length === maxAddresses) return null;
    const [, bare, words, quoted, inAngles = ''] = match;
    const name = (quoted ?? words ?? '').trim();
    addresses.push({ name: name === '' ? null : name, address: bare ?? inAngles });
  }
  return addresses;
}

/** The first entry that has an address and not only a name, or null. */
export function firstAddress(addresses: readonly MailAddress[]): string | null {
  return addresses.find(({ address }) => isAddress(address))?.address ?? null;
}

interface Context {
  readonly decode: Decode;
  /** How often the text was taken out of encoded words or quotes; in such text a comma or semicolon separates nothing. */
  readonly unwrappings: number;
  readonly defects: DefectCollector;
}

/** All of it is decoded. */
interface Mailbox {
  name: string;
  readonly comments: string[];
  readonly address: string;
  /** Its name may have a comma: `Doe, Jane <jane@example.com>`. */
  readonly inAngles: boolean;
}

function nameOf({ name, comments, inAngles }: Mailbox): string {
  if (comments.length === 0) return name;
  if (name === '') return comments.join(' ');
  return inAngles ? `${name} (${comments.join(' ')})` : `${name} ${comments.join(' ')}`;
}

function readList(tokens: readonly Token[], context: Context): readonly Mailbox[] {
  const list = createList(context);
  const separates = context.unwrappings === 0;
  const lastSemicolon = tokens.findLastIndex(({ kind }) => kind === ';');
  for (let i = 0; i < tokens.length && list.found.length < maxAddresses; i++) {
    const token = tokens[i] as Token;
    if (token.kind === '<') {
      const end = findAngleEnd(tokens, i + 1);
      const closed = tokens[end]?.kind === '>' || i + 1 === tokens.length;
      list.addAngles(tokens.slice(i + 1, end), closed);
      // What ended an open one may be the beginning of the next.
      i = closed ? end : end - 1;
    } else if (separates && (token.kind === ',' || token.kind === ';')) list.endEntry(token.kind);
    // A group has a semicolon at its end, or else it is text with a colon.
    else if (separates && token.kind === ':' && i < lastSemicolon && list.endsWithGroupName()) list.beginGroup();
    else if (token.kind !== '>') list.addWord(token);
  }
  list.endEntry(';');
  return list.found;
}

interface List {
  readonly found: readonly Mailbox[];
  addWord(token: Token): void;
  addAngles(content: readonly Token[], closed: boolean): void;
  endsWithGroupName(): boolean;
  beginGroup(): void;
  endEntry(separator: ',' | ';'): void;
}

/** An entry is what stands between two separators: words, then perhaps angle brackets, and so on. */
function createList(context: Context): List {
  const found: Mailbox[] = [];
  /** Entries without an address that a comma ended: parts of the next name when that has angle brackets. */
  let pending: TextEntry[] = [];
  /** Of the present entry, since its last mailbox. */
  let words: Token[] = [];
  let latest: Mailbox | null = null;
  /** An "@" or angle brackets were in the present entry. */
  let hasAddress = false;

  const flushPending = (): void => {
    for (const { mailbox } of pending) found.push(mailbox);
    pending = [];
  };
  const emit = (mailbox: Mailbox): void => {
    if (mailbox.inAngles) {
      const names = [...pending.map(({ phrase }) => phrase), mailbox.name];
      mailbox.name = names.filter((name) => name !== '').join(', ');
      pending = [];
    } else flushPending();
    found.push(mailbox);
    latest = mailbox;
    hasAddress = true;
  };

  return {
    found,
    addWord(token) {
      words.push(token);
      if (token.kind === '@') hasAddress = true;
    },
    addAngles(content, closed) {
      if (!closed && !content.some(isAt)) {
        for (const token of content) words.push(token);
        return;
      }
      emit(readAngles(words, content, context));
      words = [];
    },
    endsWithGroupName() {
      const last = words.at(-1);
      return !hasAddress && last !== undefined && last.kind !== ':' && !isScheme(last);
    },
    beginGroup() {
      // Its members follow like others, and its semicolon separates like a comma.
      flushPending();
      words = [];
    },
    endEntry(separator) {
      const entry = readWithoutAngles(words, latest !== null, context);
      if (entry.kind === 'mailboxes') for (const mailbox of entry.mailboxes) emit(mailbox);
      else if (entry.kind === 'refused') context.defects.add('address-malformed');
      else if (latest !== null) addToName(latest, words, context);
      else if (entry.kind === 'text') pending.push(entry);
      words = [];
      latest = null;
      hasAddress = false;
      if (separator === ';' || entry.kind === 'refused') flushPending();
    },
  };
}

/** Where the angle brackets end that open before `from`: also at a second opening one or, after an address, a separator. */
function findAngleEnd(tokens: readonly Token[], from: number): number {
  // `<@relay,@relay:local@domain>`: the commas of an obsolete route separate nothing.
  let inRoute = tokens[from]?.kind === '@';
  let hasAt = false;
  for (let i = from; i < tokens.length; i++) {
    const kind = (tokens[i] as Token).kind;
    if (kind === '<' || kind === '>') return i;
    if (kind === ':') inRoute = false;
    else if (kind === '@') hasAt = !inRoute;
    else if (hasAt && (kind === ',' || kind === ';')) return i;
  }
  return tokens.length;
}

function readAngles(words: readonly Token[], content: readonly Token[], context: Context): Mailbox {
  return {
    name: context.decode(phraseOf(words)),
    comments: [...commentsOf(words, context), ...commentsOf(content, context)],
    address: addressIn(withoutRoute(content.filter(({ kind }) => kind !== 'comment')), context),
    inAngles: true,
  };
}

function withoutRoute(content: readonly Token[]): readonly Token[] {
  if (content[0]?.kind !== '@') return content;
  return content.slice(content.findIndex(({ kind }) => kind === ':') + 1);
}

/**
 * The address in angle brackets; their text when that is something else or more, since a blank may have cut the address
 * in two; nothing when there are several.
 */
function addressIn(content: readonly Token[], context: Context): string {
  const groups = groupTokens(content, context.decode);
  if (groups.length === 1 && groups[0]?.address != null) return groups[0].address;
  const text = cleanAddress(context.decode(spellAddress(content)));
  // What an encoded word holds must not pass for one of two addresses either.
  if (text.indexOf('@') !== text.lastIndexOf('@')) return '';
  return unwrapInAngles(groups, content, context) ?? text;
}

function unwrapInAngles(groups: readonly TokenGroup[], content: readonly Token[], context: Context): string | null {
  return groups.some(({ address }) => address !== null) ? null : (unwrap(content, context)?.address ?? null);
}

/** A name, or what might be a local user; no address. */
interface TextEntry {
  readonly kind: 'text';
  readonly phrase: string;
  readonly mailbox: Mailbox;
}

type Entry =
  | { readonly kind: 'mailboxes'; readonly mailboxes: readonly Mailbox[] }
  | TextEntry
  | { readonly kind: 'empty' }
  | { readonly kind: 'refused' };

/** What stands between two separators and not in angle brackets. */
function readWithoutAngles(tokens: readonly Token[], followsAngles: boolean, context: Context): Entry {
  if (tokens.length === 0) return { kind: 'empty' };
  const groups = groupTokens(tokens, context.decode);
  if (groups.some(hasTwoAts)) return { kind: 'refused' };
  if (groups.some(({ address }) => address !== null))
    return { kind: 'mailboxes', mailboxes: splitAtAddresses(groups, context) };
  const unwrapped = followsAngles ? null : unwrap(tokens, context);
  if (unwrapped !== null) return { kind: 'mailboxes', mailboxes: [unwrapped] };
  const significant = tokens.filter(({ kind }) => kind !== 'comment');
  // `Undisclosed recipients:` is a group without members that lost its semicolon.
  if (significant.length === 0 || significant.at(-1)?.kind === ':') return { kind: 'empty' };
  const raw = phraseOf(tokens);
  const phrase = context.decode(raw);
  const isOneWord = significant.length === 1 && significant[0]?.kind === 'word';
  const isLocalUser = (isOneWord || (groups.length === 1 && significant.some(isAt))) && !raw.includes('=?');
  const address = isLocalUser ? context.decode(spellAddress(tokens)) : '';
  const comments = commentsOf(tokens, context);
  return { kind: 'text', phrase, mailbox: { name: isLocalUser ? '' : phrase, comments, address, inAngles: false } };
}

/** Words before an address are its name; those behind the last one belong to it as well. */
function splitAtAddresses(groups: readonly TokenGroup[], context: Context): readonly Mailbox[] {
  const mailboxes: Mailbox[] = [];
  let words: Token[] = [];
  for (const { address, tokens } of groups) {
    if (address === null) for (const token of tokens) words.push(token);
    else {
      const name = context.decode(phraseOf(words)).replace(/:$/, '');
      const comments = [...commentsOf(words, context), ...commentsOf(tokens, context)];
      mailboxes.push({ name, comments, address, inAngles: false });
      words = [];
    }
  }
  const last = mailboxes.at(-1);
  if (last !== undefined) addToName(last, words, context);
  return mailboxes;
}

function addToName(mailbox: Mailbox, tokens: readonly Token[], context: Context): void {
  // A comment behind angle brackets says something else than the name when there is one.
  if (mailbox.name === '' || !mailbox.inAngles)
    for (const text of commentsOf(tokens, context)) mailbox.comments.push(text);
  mailbox.name = [mailbox.name, context.decode(phraseOf(tokens))].filter((name) => name !== '').join(' ');
}

/**
 * The one mailbox that some senders wrap as a whole: into encoded words, quotes, brackets or parentheses. Only asked for
 * where no address stands outside of these, so that no name can take the place of an address.
 */
function unwrap(tokens: readonly Token[], context: Context): Mailbox | null {
  if (context.unwrappings === maxUnwrappings) return null;
  const wrapped = tokens.map((token) =>
    (token.kind === 'bracketed' || token.kind === 'comment') && token.text.includes('@')
      ? { ...token, kind: 'word' as const, text: `<${token.text}>` }
      : token,
  );
  const text = context.decode(phraseOf(wrapped));
  if (!text.includes('@')) return null;
  const decode: Decode = (decoded) => decoded;
  const mailboxes = readList(tokenizeAddresses(text), {
    decode,
    unwrappings: context.unwrappings + 1,
    defects: context.defects,
  });
  const [mailbox] = mailboxes;
  return mailboxes.length === 1 && mailbox !== undefined && isAddress(mailbox.address) ? mailbox : null;
}

function commentsOf(tokens: readonly Token[], { decode }: Context): string[] {
  return tokens.filter(({ kind }) => kind === 'comment').map(({ text }) => decode(text));
}
