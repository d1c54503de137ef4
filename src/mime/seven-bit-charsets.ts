/**
 * Charsets that carry two-byte characters in seven bits between shifts, and that iconv-lite lacks: turned into their
 * eight-bit sisters. Spec: RFC 1557 (ISO-2022-KR), RFC 1843 (HZ).
 */
import iconv from 'iconv-lite';

const escapeByte = 0x1b;
const shiftOut = 0x0e;
const shiftIn = 0x0f;
const tilde = 0x7e;

export function decodeIso2022Kr(bytes: Buffer): string {
  const out: number[] = [];
  let shifted = false;
  for (let i = 0; i < bytes.length; i++) {
    const byte = bytes[i] as number;
    // The announcement ESC $ ) C stands once at the beginning and shows nothing.
    if (byte === escapeByte && bytes.toString('latin1', i + 1, i + 4) === '$)C') i += 3;
    else if (byte === shiftOut || byte === shiftIn) shifted = byte === shiftOut;
    else out.push(shifted && byte > 0x20 ? byte | 0x80 : byte);
  }
  return iconv.decode(Buffer.from(out), 'cp949');
}

export function decodeHz(bytes: Buffer): string {
  const out: number[] = [];
  let shifted = false;
  for (let i = 0; i < bytes.length; i++) {
    const byte = bytes[i] as number;
    const next = byte === tilde ? String.fromCharCode(bytes[i + 1] ?? 0) : '';
    if (next === '{' || next === '}') {
      shifted = next === '{';
      i++;
    } else if (next === '~' && !shifted) {
      out.push(tilde);
      i++;
    } else if (next === '\n') i++;
    else out.push(shifted && byte > 0x20 ? byte | 0x80 : byte);
  }
  return iconv.decode(Buffer.from(out), 'gb18030');
}
