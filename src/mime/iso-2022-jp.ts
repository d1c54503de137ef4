/**
 * ISO-2022-JP as it is really sent: with the NEC and IBM characters that the standard lacks, so read through CP932.
 * Returns null when the bytes are none. Spec: RFC 1468.
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

export function decodeIso2022Jp(bytes: Buffer): string | null {
  const cp932: number[] = [];
  let mode: Mode = 'ascii';
  for (let i = 0; i < bytes.length; ) {
    if (bytes[i] === 0x1b) {
      const next = escapes.get(bytes.toString('latin1', i + 1, i + 3));
      if (next === undefined) return null;
      mode = next;
      i += 3;
    } else if (mode === 'jis') {
      if (!pushJis(cp932, bytes[i] as number, bytes[i + 1] ?? 0)) return null;
      i += 2;
    } else {
      const byte = bytes[i] as number;
      if (mode === 'ascii' && byte > 127) return null;
      cp932.push(mode === 'kana' ? byte | 0x80 : byte);
      i++;
    }
  }
  return iconv.decode(Buffer.from(cp932), 'cp932');
}

/** JIS X 0208 row and cell to their place in Shift_JIS: two rows share one lead byte. */
function pushJis(out: number[], row: number, cell: number): boolean {
  if (row < 0x21 || row > 0x7e || cell < 0x21 || cell > 0x7e) return false;
  const pair = (row - 0x21) >> 1;
  out.push(pair + (pair < 31 ? 0x81 : 0xc1), row % 2 === 0 ? cell + 0x7e : cell + (cell < 0x60 ? 0x1f : 0x20));
  return true;
}
