/** Finds the end of the header while the mail goes by. */
import { setImmediate } from 'node:timers/promises';
import { createHeaderScan, type ScannedHeader } from '../mime/index.ts';

/** So much of a header, in lines of four bytes, takes some milliseconds; then others have their turn. */
const HEADER_STEP_BYTES = 16 * 1024;

export interface HeaderWatch {
  /** How many of the next bytes are header. Not to be called again before it resolves. */
  push(bytes: Uint8Array): Promise<number>;
  finish(): ScannedHeader;
}

export function createHeaderWatch(onHeader: ((header: ScannedHeader) => void) | undefined): HeaderWatch {
  const scan = createHeaderScan();
  return {
    async push(bytes) {
      if (scan.header() !== null) return 0;
      for (let at = 0; at < bytes.length; at += HEADER_STEP_BYTES) {
        if (at > 0) await setImmediate();
        const ofHeader = scan.push(bytes.subarray(at, at + HEADER_STEP_BYTES));
        const header = scan.header();
        if (header === null) continue;
        onHeader?.(header);
        return at + ofHeader;
      }
      return bytes.length;
    },
    finish() {
      const known = scan.header();
      if (known !== null) return known;
      const header = scan.finish();
      onHeader?.(header);
      return header;
    },
  };
}
