/** Comments of structured fields, `(…)`, which nest. Spec: RFC 5322 §3.2.2. */

/** Where the comment that opens at a position ends; positions without a comment that ends are not there. */
export type CommentEnds = ReadonlyMap<number, number>;

const none: CommentEnds = new Map();

/** Time: linear, which asking for one comment at a time would not be. */
export function findCommentEnds(text: string): CommentEnds {
  if (!text.includes('(')) return none;
  const ends = new Map<number, number>();
  const open: number[] = [];
  for (let i = 0; i < text.length; i++) {
    if (text[i] === '\\') i++;
    else if (text[i] === '(') open.push(i);
    else if (text[i] === ')') {
      const start = open.pop();
      if (start !== undefined) ends.set(start, i + 1);
    }
  }
  return ends;
}

/** Each comment as blanks, so that positions stay. */
export function blankComments(text: string): string {
  const ends = findCommentEnds(text);
  if (ends.size === 0) return text;
  const out: string[] = [];
  let from = 0;
  for (let i = 0; i < text.length; i++) {
    const end = ends.get(i);
    if (end === undefined) continue;
    out.push(text.slice(from, i), ' '.repeat(end - i));
    from = end;
    i = end - 1;
  }
  return out.join('') + text.slice(from);
}
