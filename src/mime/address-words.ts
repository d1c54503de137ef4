/**
 * Which tokens of an address list are one address, and how addresses and names are spelled.
 * Time: linear. Spec: RFC 5322 §3.4.1, §4.4.
 */
import type { Token } from './address-tokens.ts';

/** From bytes as Latin-1 code points to text. */
export type Decode = (raw: string) => string;

/** Control characters, and those that show text in another order than it is in. */
const hiding = '\\p{Cc}\\u200e\\u200f\\u202a-\\u202e\\u2066-\\u2069';
const invisible = /[\s\u200b-\u200f\u2060\ufeff]/;
const localPart = `[^\\s${hiding}"(),:;<>@[\\]\\\\]+|"(?:[^"\\\\@${hiding}]|\\\\[^@${hiding}])+"`;
const domainLabel = '[\\p{L}\\p{M}\\p{N}_-]+';
const domain = `${domainLabel}(?:\\.${domainLabel})*|\\[[\\p{L}\\p{N}:.-]+\\]`;
/** Most addresses; tested in a fraction of the time. */
const plainAddressPattern = /^[\w.+=-]+@[\w-]+(?:\.[\w-]+)*$/;
const addressPattern = new RegExp(`^(?:${localPart})@(?:${domain})$`, 'u');

/** Exactly one "@": `a@evil.example@good.example` must not pass for either. */
export function isAddress(text: string): boolean {
  return plainAddressPattern.test(text) || addressPattern.test(text);
}

/** Tokens that are one word or one address. */
export interface TokenGroup {
  readonly tokens: Token[];
  ats: number;
  address: string | null;
  /** It follows `mailto:`. */
  readonly isLink: boolean;
}

export function groupTokens(tokens: readonly Token[], decode: Decode): readonly TokenGroup[] {
  const groups: TokenGroup[] = [];
  let group: TokenGroup | null = null;
  let previous: Token | null = null;
  let isLink = false;
  for (let i = 0; i < tokens.length; i++) {
    const token = tokens[i] as Token;
    if (isScheme(token) && tokens[i + 1]?.kind === ':') {
      isLink = true;
      previous = null;
      i++;
      continue;
    }
    if (token.kind === 'comment' && group !== null) {
      group.tokens.push(token);
      continue;
    }
    if (group === null || previous === null || !belongTogether(previous, token)) {
      group = { tokens: [], ats: 0, address: null, isLink };
      groups.push(group);
      isLink = false;
    }
    group.tokens.push(token);
    if (token.kind === '@') group.ats++;
    previous = token;
  }
  for (const each of groups) if (each.ats === 1) each.address = readAddress(each, decode);
  return groups;
}

export function isScheme({ kind, text }: Token): boolean {
  return kind === 'word' && /^(?:mailto|smtp)$/i.test(text);
}

export function isAt({ kind }: Token): boolean {
  return kind === '@';
}

export function hasTwoAts({ ats }: TokenGroup): boolean {
  return ats > 1;
}

/** White space may stand around "@" and around dots (RFC 5322 §4.4), also where a fold put it: `<jane. doe@x.example>`. */
function belongTogether(previous: Token, next: Token): boolean {
  if (previous.kind === '@' || next.kind === '@') return true;
  return (
    (previous.kind === 'word' && previous.text.endsWith('.')) || (next.kind === 'word' && next.text.startsWith('.'))
  );
}

function readAddress({ tokens, isLink }: TokenGroup, decode: Decode): string | null {
  const address = cleanAddress(decode(spellAddress(tokens)));
  const withoutQuery = isLink ? (address.split('?', 1)[0] as string) : address;
  return isAddress(withoutQuery) ? withoutQuery : null;
}

/** QUIRK: apostrophes around the address (Outlook), the dot of the DNS root, and invisible characters that were copied. */
export function cleanAddress(text: string): string {
  const visible = trimInvisible(text);
  const bare = /^'[^']*'$/.test(visible) ? visible.slice(1, -1) : visible;
  return bare.includes('@') && bare.endsWith('.') ? bare.slice(0, -1) : bare;
}

function trimInvisible(text: string): string {
  let start = 0;
  let end = text.length;
  while (start < end && invisible.test(text[start] as string)) start++;
  while (end > start && invisible.test(text[end - 1] as string)) end--;
  return text.slice(start, end);
}

export function spellAddress(tokens: readonly Token[]): string {
  let spelled = '';
  let previous: Token | null = null;
  for (const token of tokens) {
    if (token.kind === 'comment') continue;
    if (previous !== null && token.gap && !belongTogether(previous, token)) spelled += ' ';
    if (token.kind === 'quoted') spelled += `"${token.text.replace(/["\\]/g, '\\$&')}"`;
    else spelled += token.kind === 'bracketed' ? `[${token.text}]` : token.text;
    previous = token;
  }
  return spelled;
}

/** The text of a name. Words and quoted strings are apart even where nothing stands between them. */
export function phraseOf(tokens: readonly Token[]): string {
  let phrase = '';
  let afterWord = false;
  for (const token of tokens) {
    if (token.kind === 'comment') continue;
    const isWord = token.kind === 'word' || token.kind === 'quoted';
    if (phrase !== '' && (token.gap || (afterWord && isWord))) phrase += ' ';
    phrase += token.kind === 'bracketed' ? `[${token.text}]` : token.text;
    afterWord = isWord;
  }
  return phrase;
}
