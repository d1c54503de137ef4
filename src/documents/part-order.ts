/** The order of the parts of a mail by their paths, see "Paths" in docs/mime.md. */

/**
 * For `sort`: by segment, numbers as numbers (`2` before `10`), a part before what is inside it (`2` before `2.m.1`).
 */
export function comparePartPaths(a: string, b: string): number {
  if (a === b || a === '' || b === '') return a.length - b.length;
  const left = a.split('.');
  const right = b.split('.');
  for (let at = 0; at < Math.min(left.length, right.length); at++) {
    const order = compareSegments(left[at] as string, right[at] as string);
    if (order !== 0) return order;
  }
  return left.length - right.length;
}

/** `m`, the content of a message, goes before numbers; the two never stand side by side in one mail. */
function compareSegments(a: string, b: string): number {
  if (a === b) return 0;
  if (a === 'm' || b === 'm') return a === 'm' ? -1 : 1;
  return Number(a) - Number(b);
}
