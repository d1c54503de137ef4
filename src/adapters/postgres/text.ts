/** PostgreSQL's text and jsonb take neither NUL nor lone surrogates; a mail may carry both. They become U+FFFD. */
export function storableText(text: string): string;
export function storableText(text: string | null): string | null;
export function storableText(text: string | null): string | null {
  if (text === null) return null;
  const whole = text.isWellFormed() ? text : text.toWellFormed();
  return whole.includes('\0') ? whole.replaceAll('\0', '\uFFFD') : whole;
}

/**
 * An escape that JSON.stringify writes: of NUL, of a lone surrogate (the only ones it escapes), or any other, so that an
 * escaped backslash before `u0000` is not taken for one.
 */
const escaped = /\\(?:u0000|ud[89a-f][0-9a-f]{2}|.)/g;
const unstorable = /\\u(?:0000|d[89a-f])/;

/**
 * JSON for a jsonb column, with every string in it made storable. In the text, as a function called for each of 10,000 parts'
 * strings held the event loop for 100 ms.
 */
export function storableJson(value: unknown): string | null {
  if (value === null || value === undefined) return null;
  const json = JSON.stringify(value);
  if (!unstorable.test(json)) return json;
  return json.replace(escaped, (found) => (found.length === 6 ? '\uFFFD' : found));
}
