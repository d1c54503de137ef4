/** First bytes of the files that orders come in, by which a file is told from its base64. */
const signatures: readonly Buffer[] = [
  '255044462d', // %PDF-
  '504b0304', // ZIP, and the Office formats in it
  '504b0506', // ZIP without a file
  'd0cf11e0a1b11ae1', // compound file: older Office formats, .msg
  '89504e470d0a1a0a', // PNG
  'ffd8ff', // JPEG
  '474946383761', // GIF87a
  '474946383961', // GIF89a
  '49492a00', // TIFF
  '4d4d002a',
  '1f8b08', // gzip
  '377abcaf271c', // 7z
  '526172211a07', // RAR
  '7b5c727466', // {\rtf
  '3c3f786d6c', // <?xml
].map((hex) => Buffer.from(hex, 'hex'));

export function startsLikeBinaryFile(bytes: Uint8Array): boolean {
  return signatures.some((signature) => signature.every((byte, i) => bytes[i] === byte));
}

/** Every beginning of up to four characters of their base64; each of them has at least three bytes. */
const encodedBeginnings = new Set(
  signatures.flatMap((signature) => {
    const first = signature.toString('base64', 0, 3);
    return [0, 1, 2, 3, 4].map((length) => first.slice(0, length));
  }),
);

/** Whether text may be the base64 of such a file, as far as its first characters tell. */
export function mayEncodeBinaryFile(text: string): boolean {
  return encodedBeginnings.has(text.slice(0, 4));
}

/** By a first byte: white space, or what one of them begins with. */
const mayBegin = new Uint8Array(256);
for (const white of '\t\n\v\f\r \xa0') mayBegin[white.charCodeAt(0)] = 1;
for (const beginning of encodedBeginnings) if (beginning !== '') mayBegin[beginning.charCodeAt(0)] = 1;

/** Whether a first byte alone says that the text is no base64 of such a file, as that of most texts does. */
export function beginsNoFile(byte: number): boolean {
  return mayBegin[byte] === 0;
}
