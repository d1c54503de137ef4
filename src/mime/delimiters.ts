/**
 * The delimiter lines of every open multipart. A line belongs to the innermost multipart that has it; an opening
 * delimiter goes before a closing one, as when one boundary is another with "--" behind it. Spec: RFC 2046 §5.1.1.
 */
export interface Delimiters {
  open(boundary: string, frame: number): void;
  close(boundary: string): void;
  isEmpty(): boolean;
  /** What the line [start, end) is, its line feed not counted; white space at its end does not matter. */
  match(bytes: Buffer, start: number, end: number): DelimiterMatch | null;
}

export interface DelimiterMatch {
  /** Index of the multipart among the open frames. */
  readonly frame: number;
  readonly closing: boolean;
}

export function createDelimiters(): Delimiters {
  /** Frames by line, the innermost last. */
  const opening = new Map<string, number[]>();
  const closing = new Map<string, number[]>();
  /** How many open lines have a length: most lines with dashes are told apart by it, without a look at their text. */
  const lengths = new Map<number, number>();
  let count = 0;
  const addLengths = (boundary: string, by: number) => {
    for (const length of [boundary.length + 2, boundary.length + 4])
      lengths.set(length, (lengths.get(length) ?? 0) + by);
  };
  return {
    isEmpty: () => count === 0,
    open(boundary, frame) {
      count++;
      addLengths(boundary, 1);
      push(opening, `--${boundary}`, frame);
      push(closing, `--${boundary}--`, frame);
    },
    close(boundary) {
      count--;
      addLengths(boundary, -1);
      pop(opening, `--${boundary}`);
      pop(closing, `--${boundary}--`);
    },
    match(bytes, start, end) {
      const textEnd = withoutBlanks(bytes, start, end);
      if (!lengths.get(textEnd - start)) return null;
      const line = bytes.toString('latin1', start, textEnd);
      const opened = opening.get(line)?.at(-1);
      if (opened !== undefined) return { frame: opened, closing: false };
      const closed = closing.get(line)?.at(-1);
      return closed === undefined ? null : { frame: closed, closing: true };
    },
  };
}

function push(map: Map<string, number[]>, line: string, frame: number): void {
  const frames = map.get(line);
  if (frames === undefined) map.set(line, [frame]);
  else frames.push(frame);
}

function pop(map: Map<string, number[]>, line: string): void {
  const frames = map.get(line);
  frames?.pop();
  if (frames?.length === 0) map.delete(line);
}

function withoutBlanks(bytes: Buffer, start: number, end: number): number {
  let i = end;
  while (i > start && (bytes[i - 1] === 32 || bytes[i - 1] === 9 || bytes[i - 1] === 13)) i--;
  return i;
}
