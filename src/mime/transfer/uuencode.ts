/** x-uuencode and its base64 sister, line by line. Spec: POSIX uuencode. */
import { createBase64Decoder } from './base64.ts';
import { type DecoderContext, noBytes, type TransferDecoder } from './decoder.ts';

/** A line carries at most 63 bytes in 84 characters; a line that is kept no longer than this loses nothing. */
const maxLineBytes = 256;
/** How far the begin line is looked for before the bytes are given as they are. */
const maxPreambleBytes = 8 * 1024;

const lineFeed = 10;

type State = 'preamble' | 'lines' | 'base64' | 'after' | 'verbatim';

export function createUuencodeDecoder(context: DecoderContext): TransferDecoder {
  const { arena, defects } = context;
  const base64 = createBase64Decoder(context);
  let state: State = 'preamble';
  let preamble: Buffer[] = [];
  let preambleBytes = 0;
  let line = '';

  const endLine = (out: Uint8Array[]): void => {
    const text = line.replace(/\r{1,256}$/, '');
    line = '';
    if (state === 'after') return;
    if (state === 'preamble') {
      const begin = /^begin(-base64)? [0-7]{3,4}/.exec(text);
      if (begin === null) return;
      state = begin[1] === undefined ? 'lines' : 'base64';
      preamble = [];
    } else if (state === 'base64') {
      if (text.startsWith('====')) state = 'after';
      else out.push(base64.write(Buffer.from(`${text}\n`, 'latin1')));
    } else if (text.trim() === 'end') {
      state = 'after';
    } else if (text !== '' && text[0] !== '`' && text[0] !== ' ') {
      const bytes = decodeLine(text);
      if (bytes === null) defects.add('uuencode-malformed');
      else out.push(bytes);
    }
  };

  const giveVerbatim = (): Buffer => {
    state = 'verbatim';
    defects.add('uuencode-without-begin');
    const bytes = Buffer.concat(preamble);
    preamble = [];
    return bytes;
  };

  return {
    write(encoded) {
      if (state === 'verbatim') return encoded;
      if (state === 'after') return noBytes;
      const out: Uint8Array[] = [];
      if (state === 'preamble') {
        preamble.push(Buffer.from(encoded));
        preambleBytes += encoded.length;
      }
      for (let from = 0; from < encoded.length; ) {
        const at = encoded.indexOf(lineFeed, from);
        const end = at < 0 ? encoded.length : at;
        line += encoded.toString('latin1', from, Math.min(end, from + maxLineBytes - line.length));
        if (at >= 0) endLine(out);
        from = end + 1;
      }
      if (state === 'preamble' && preambleBytes > maxPreambleBytes) return giveVerbatim();
      return join(out, arena.take(out.reduce((sum, bytes) => sum + bytes.length, 0)));
    },
    end() {
      const out: Uint8Array[] = [];
      if (state !== 'verbatim' && state !== 'after' && line !== '') endLine(out);
      if (state === 'preamble') return giveVerbatim();
      if (state === 'base64') out.push(base64.end());
      if (state === 'lines') defects.add('uuencode-without-end');
      return Buffer.concat(out);
    },
  };
}

/** Null when a character is none of the alphabet; missing characters at the end count as zero, as mailers strip blanks. */
function decodeLine(text: string): Uint8Array | null {
  const length = (text.charCodeAt(0) - 32) & 63;
  const out = new Uint8Array(length);
  const needed = Math.ceil((length * 4) / 3);
  let bits = 0;
  let held = 0;
  let written = 0;
  for (let i = 1; i <= needed; i++) {
    const code = i < text.length ? text.charCodeAt(i) : 32;
    if (code < 32 || code > 96) return null;
    held = ((held << 6) | ((code - 32) & 63)) & 0xffff;
    bits += 6;
    if (bits >= 8 && written < length) {
      bits -= 8;
      out[written++] = (held >> bits) & 255;
    }
  }
  return out;
}

function join(pieces: readonly Uint8Array[], into: Buffer): Buffer {
  let at = 0;
  for (const piece of pieces) {
    into.set(piece, at);
    at += piece.length;
  }
  return into;
}
