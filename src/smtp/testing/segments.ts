/** Ways to cut what is sent, and to stuff dots, for tests. */

/** Cuts at the given offsets, in any order; offsets beyond the end are ignored. No empty segments. */
export function splitAt(bytes: Buffer, offsets: readonly number[]): Buffer[] {
  const cuts = [0, ...offsets.filter((offset) => offset < bytes.length), bytes.length].toSorted((a, b) => a - b);
  const segments = cuts.slice(1).map((end, index) => bytes.subarray(cuts[index], end));
  return segments.filter((segment) => segment.length > 0);
}

/** The same cuts for the same seed. */
export function splitRandomly(bytes: Buffer, seed: number, meanBytes = 6): Buffer[] {
  const random = seededRandom(seed);
  const cuts: number[] = [];
  for (let at = 0; at < bytes.length; at += 1 + Math.floor(random() * 2 * meanBytes)) cuts.push(at);
  return splitAt(bytes, cuts);
}

/** mulberry32 */
export function seededRandom(seed: number): () => number {
  let state = seed + 0x6d2b79f5;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}

/** As a client sends it: dots doubled at the start of lines, terminator behind. The mail must end with CRLF or be empty. */
export function stuff(mail: Buffer): Buffer {
  const text = mail.toString('latin1').replace(/(^|\r\n)\./g, '$1..');
  return Buffer.from(`${text}.\r\n`, 'latin1');
}
