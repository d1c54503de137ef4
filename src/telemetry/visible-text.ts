/** Makes text that a stranger chose harmless on a terminal: escape sequences, overwriting, reordering. */

/** C0 and C1 controls, DEL, and the invisible format characters that reorder or hide text. */
const dangerous =
  /[\u0000-\u001f\u007f-\u009f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]|[\u{e0000}-\u{e007f}]/gu;

const escaped = (character: string): string =>
  [...character].map((one) => `\\u{${(one.codePointAt(0) ?? 0).toString(16)}}`).join('');

/** One line of harmless text: every dangerous character shown as `\u{1b}`. */
export function visible(text: string): string {
  return text.toWellFormed().replace(dangerous, escaped);
}

/** As `visible`, cut to so many characters, the `…` of a cut included. */
export function visibleBeginning(text: string, maxCharacters: number): string {
  const shown = visible(text.slice(0, maxCharacters));
  if (text.length <= maxCharacters && shown.length <= maxCharacters) return shown;
  return `${shown.slice(0, maxCharacters - 1).toWellFormed()}…`;
}

/** As `visible`, but line ends and tabs stay: for whole mails shown on a terminal. */
export function visibleLines(text: string): string {
  return text
    .toWellFormed()
    .replace(dangerous, (character) => (/[\t\r\n]/.test(character) ? character : escaped(character)));
}

const jsonEscape = (character: string): string =>
  character
    .split('')
    .map((unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`)
    .join('');

/** JSON that is still the same JSON, and harmless on a terminal: C1 and invisible characters become \uXXXX too. */
export function terminalSafeJson(value: unknown): string {
  const text = JSON.stringify(value, null, 2);
  return text.replace(dangerous, (character) => (character === '\n' ? character : jsonEscape(character)));
}

/**
 * For a JSON line that will be parsed and printed raw: after parsing, its dangerous characters are their own
 * escapes (`\u001b` as six characters). Newline and tab stay, stacks need them.
 */
export function escapeInsideJson(line: string): string {
  return line
    .replace(/\\(\\|[bfr]|u00[01][0-9a-f])/gi, (match, kind: string) => (kind === '\\' ? match : `\\${match}`))
    .replace(dangerous, (character) => (character === '\n' ? character : `\\${jsonEscape(character)}`));
}
