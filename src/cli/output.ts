/** Writing for people and for programs. */
import type { Writable } from 'node:stream';
import { terminalSafeJson, visible } from '../telemetry/visible-text.ts';

export interface Output {
  readonly isTerminal: boolean;
  /** The reader has gone (`| head`): what is still written goes nowhere, quietly. */
  readonly broken: boolean;
  /** Why not all of it was written, such as `ENOSPC`; null when it was, or nobody reads on. */
  readonly failure: string | null;
  /** Resolves when there is room for more. */
  write(chunk: string | Uint8Array): Promise<void>;
  line(text?: string): Promise<void>;
  json(value: unknown): Promise<void>;
}

export function createOutput(stream: Writable & { readonly isTTY?: boolean }): Output {
  let broken = false;
  let failure: string | null = null;
  let last = Promise.resolve();
  const failed = ({ code = 'unknown' }: NodeJS.ErrnoException): void => {
    if (!broken && code !== 'EPIPE') failure = code;
    broken = true;
  };
  stream.on('error', failed);
  const write = async (chunk: string | Uint8Array): Promise<void> => {
    if (broken) return;
    // An empty chunk only waits for those before it: written to a full device, even that would be a fault.
    if (chunk.length === 0) return await last;
    last = new Promise<void>((resolve) => {
      stream.write(chunk, (error) => {
        if (error) failed(error);
        resolve();
      });
    });
    await last;
  };
  return {
    isTerminal: stream.isTTY === true,
    get broken() {
      return broken;
    },
    get failure() {
      return failure;
    },
    write,
    line: (text = '') => write(`${text}\n`),
    json: (value) => write(`${terminalSafeJson(value)}\n`),
  };
}

/** Columns padded with spaces; the last is left as it is. Every cell is made harmless: senders choose many of them. */
export function table(header: readonly string[], rows: readonly (readonly (string | number | null)[])[]): string {
  const cells = [header, ...rows.map((row) => row.map((cell) => (cell === null ? '-' : visible(String(cell)))))];
  const widths = header.map((_, column) => Math.max(...cells.map((row) => [...(row[column] ?? '')].length)));
  return cells
    .map((row) =>
      row.map((cell, column) => pad(cell, column === row.length - 1 ? 0 : (widths[column] ?? 0))).join('  '),
    )
    .join('\n');
}

const pad = (cell: string, width: number): string => cell + ' '.repeat(Math.max(0, width - [...cell].length));

/** Long texts would push every other column off the screen; `--json` has them whole. */
export function shortened(text: string | null, characters: number): string | null {
  if (text === null) return null;
  const all = [...text];
  return all.length <= characters ? text : `${all.slice(0, characters - 1).join('')}…`;
}
