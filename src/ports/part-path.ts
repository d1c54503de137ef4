/** Paths of the parts of a mail (`2`, `2.10`, `3.m.1`), as rows and events name them. */

/**
 * Orders part paths as the parts stand in the mail: `2` before `2.m.1`, `2.m.2` before `2.m.10`, `2` before `10`; the
 * empty path of a multipart that is the whole mail comes first. Any other text has a fixed place too: rows outlive us.
 */
export function comparePartPaths(a: string, b: string): number {
  const [left, right] = [a.split('.'), b.split('.')];
  const common = Math.min(left.length, right.length);
  for (let index = 0; index < common; index++) {
    const order = compareSegments(left[index] ?? '', right[index] ?? '');
    if (order !== 0) return order;
  }
  return left.length - right.length;
}

/** Numbers by their value and behind everything else, so that the empty path is the first. */
function compareSegments(a: string, b: string): number {
  if (a === b) return 0;
  const [left, right] = [positionOf(a), positionOf(b)];
  if (left !== right) return left - right;
  return a < b ? -1 : 1;
}

const positionOf = (segment: string): number => (/^[0-9]{1,9}$/.test(segment) ? Number(segment) : -1);
