/**
 * ISO-2022-JP as it is really sent: with the NEC and IBM characters that the standard lacks, so read through CP932.
 * What is none of it becomes U+FFFD, and reading goes on. Spec: RFC 1468.
 */
import iconv from 'iconv-lite';

type Mode = 'ascii' | 'jis' | 'kana';

const escapes: ReadonlyMap<string, Mode> = new Map([
  ['$@', 'jis'],
  ['$B', 'jis'],
  ['(B', 'ascii'],
  ['(J', 'ascii'],
  ['(I', 'kana'],
]);

const escapeByte = 0x1b;
const replacement = '\ufffd';

export function decodeIso2022Jp(bytes: Buffer): string {
  return decode(bytes, () => true) ?? '';
}

/** Null at the first byte that is none of it. */
export function decodeValidIso2022Jp(bytes: Buffer): string | null {
  return decode(bytes, () => false);
}

/** `goesOn` is asked at each byte that is none of it. */
function decode(bytes: Buffer, goesOn: () => boolean): string | null {
  const out: string[] = [];
  let cp932: number[] = [];
  let mode: Mode = 'ascii';
  const flush = () => {
    if (cp932.length > 0) out.push(iconv.decode(Buffer.from(cp932), 'cp932'));
    cp932 = [];
  };
  const replaceOne = (): boolean => {
    flush();
    out.push(replacement);
    return goesOn();
  };
  for (let i = 0; i < bytes.length; ) {
    const byte = bytes[i] as number;
    if (byte === escapeByte) {
      const next = escapes.get(bytes.toString('latin1', i + 1, i + 3));
      if (next === undefined && !replaceOne()) return null;
      mode = next ?? 'ascii';
      i += next === undefined ? 1 : 3;
    } else if (mode === 'jis' && byte > 0x20) {
      const pair = pushJis(cp932, byte, bytes[i + 1] ?? 0);
      if (!pair && !replaceOne()) return null;
      i += pair ? 2 : 1;
    } else {
      // A line end within two-byte text returns to ASCII; a blank there is what some senders leave in it.
      if (byte === 10 || byte === 13) mode = 'ascii';
      if (byte > 127) {
        if (!replaceOne()) return null;
      } else cp932.push(mode === 'kana' && byte > 0x20 ? byte | 0x80 : byte);
      i++;
    }
  }
  flush();
  return out.join('');
}

/** JIS X 0208 row and cell to their place in Shift_JIS: two rows share one lead byte. */
function pushJis(out: number[], row: number, cell: number): boolean {
  if (row < 0x21 || row > 0x7e || cell < 0x21 || cell > 0x7e) return false;
  const pair = (row - 0x21) >> 1;
  out.push(pair + (pair < 31 ? 0x81 : 0xc1), row % 2 === 0 ? cell + 0x7e : cell + (cell < 0x60 ? 0x1f : 0x20));
  return true;
}
