const LOCAL_PART = 'orders';
const SLUG = /^[a-z0-9-]+$/;

/**
 * The organisation's slug in `orders+{slug}`, lower case; null when the local part is not of that form.
 * A second plus belongs to the slug and makes it none. Spec: RFC 5233 (what stands behind the plus is ours to read)
 */
export function slugOf(localPart: string): string | null {
  const plus = localPart.indexOf('+');
  if (plus === -1 || asciiLowerCase(localPart.slice(0, plus)) !== LOCAL_PART) return null;
  const slug = asciiLowerCase(localPart.slice(plus + 1));
  return SLUG.test(slug) ? slug : null;
}

/** Only A to Z: `toLowerCase` makes a k of the Kelvin sign, and another organisation's address of a look-alike. */
export function asciiLowerCase(text: string): string {
  return text.replace(/[A-Z]+/g, (capitals) => capitals.toLowerCase());
}
