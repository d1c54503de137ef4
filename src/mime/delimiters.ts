/**
 * The delimiter lines of every open multipart. A line belongs to the innermost multipart that has it; an opening
 * delimiter goes before a closing one, as when one boundary is another with "--" behind it. Spec: RFC 2046 §5.1.1.
 */
export interface Delimiters {
  /** `indented`: its lines have blanks before them, as a gateway that indents a whole mail leaves them. */
  open(boundary: string, frame: number, indented?: boolean): void;
  close(boundary: string, indented?: boolean): void;
  isEmpty(): boolean;
  /** An open multipart has that boundary. */
  has(boundary: string): boolean;
  /** A delimiter may have blanks before it. */
  mayBeIndented(): boolean;
  /** What the line [start, end) is, its line feed not counted; white space at its end does not matter. */
  match(bytes: Buffer, start: number, end: number): DelimiterMatch | null;
  /** The closing delimiter that the line begins with, whatever follows it. */
  matchClosingStart(bytes: Buffer, start: number, end: number): DelimiterMatch | null;
}

/** A gateway indents by a blank, a tab or a few. */
export const maxIndentBytes = 8;

export interface DelimiterMatch {
  /** Index of the multipart among the open frames. */
  readonly frame: number;
  readonly closing: boolean;
  /** Text stands behind it in its line. */
  readonly hasText: boolean;
}

export function createDelimiters(): Delimiters {
  /** Frames by line, the innermost last. */
  const opening = new Map<string, number[]>();
  const closing = new Map<string, number[]>();
  /** How many open lines have a length: most lines with dashes are told apart by it, without a look at their text. */
  const lengths = new Map<number, number>();
  let count = 0;
  let indentedCount = 0;
  const addLength = (length: number, by: number): void => {
    lengths.set(length, (lengths.get(length) ?? 0) + by);
  };
  return {
    isEmpty: () => count === 0,
    has: (boundary) => opening.has(`--${boundary}`),
    mayBeIndented: () => indentedCount > 0,
    open(boundary, frame, indented = false) {
      count++;
      if (indented) indentedCount++;
      addLength(boundary.length + 2, 1);
      addLength(boundary.length + 4, 1);
      push(opening, `--${boundary}`, frame);
      push(closing, `--${boundary}--`, frame);
    },
    close(boundary, indented = false) {
      count--;
      if (indented) indentedCount--;
      addLength(boundary.length + 2, -1);
      addLength(boundary.length + 4, -1);
      pop(opening, `--${boundary}`);
      pop(closing, `--${boundary}--`);
    },
    match(bytes, lineStart, end) {
      const start = indentedCount === 0 ? lineStart : skipBlanks(bytes, lineStart, end);
      if (bytes[start] !== dash || bytes[start + 1] !== dash) return null;
      const textEnd = withoutBlanks(bytes, start, end);
      if (!lengths.get(textEnd - start)) return null;
      const line = bytes.toString('latin1', start, textEnd);
      const opened = opening.get(line)?.at(-1);
      if (opened !== undefined) return { frame: opened, closing: false, hasText: false };
      const closed = closing.get(line)?.at(-1);
      return closed === undefined ? null : { frame: closed, closing: true, hasText: false };
    },
    matchClosingStart(bytes, start, end) {
      const line = bytes.toString('latin1', start, Math.min(end, start + maxClosingBytes));
      let longest = '';
      for (const text of closing.keys()) if (text.length > longest.length && line.startsWith(text)) longest = text;
      const frame = closing.get(longest)?.at(-1);
      return frame === undefined ? null : { frame, closing: true, hasText: true };
    },
  };
}

const dash = 45;

/** RFC 2046 §5.1.1 allows boundaries of 70; a closing delimiter that is longer is looked for as a whole line only. */
const maxClosingBytes = 200;

function skipBlanks(bytes: Buffer, start: number, end: number): number {
  let i = start;
  const most = Math.min(end, start + maxIndentBytes);
  while (i < most && (bytes[i] === 32 || bytes[i] === 9)) i++;
  return i;
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
