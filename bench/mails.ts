/**
 * The mails that are sent, built once per size: a mail differs from the next only in its Message-ID, so a shared body
 * and a header of a few hundred bytes are all that the generator has to write.
 */

export const REVERSE_PATH = 'buyer@customer.example';
export const FORWARD_PATH = 'orders+acme@orderflow.example.com';

export interface MailTemplate {
  readonly sizeBytes: number;
  /** Documents that come out of it. */
  readonly attachments: number;
  /** Everything up to and with the Message-ID. Shape: `serial` takes at most ten digits; all results are of one length. */
  head(run: string, serial: number): string;
  /** The rest, ready for the wire without the final dot; ends with CRLF. */
  readonly rest: Buffer;
}

/** Above this a mail carries ten attachments, as the order of a large buyer does; below, one. */
const MANY_ATTACHMENTS_FROM_BYTES = 10_000_000;
const RUN_CHARACTERS = 12;
const BOUNDARY = '=_bench_boundary';
const BASE64_LINE_CHARACTERS = 76;

/** Exactly `sizeBytes` as the receiver counts them. Errors: RangeError when that is too small for a mail with a file. */
export function mailTemplate(sizeBytes: number): MailTemplate {
  const attachments = sizeBytes >= MANY_ATTACHMENTS_FROM_BYTES ? 10 : 1;
  const headBytes = head('', 0).length;
  const overheadBytes = rest({ attachments, fileBytes: 0, textBytes: 2 }).length;
  // Base64 makes 78 octets of line out of 57; a hundredth is left for the text, which makes up the difference.
  const fileBytes = Math.floor((((sizeBytes - headBytes - overheadBytes) * 0.99) / attachments) * (57 / 78));
  const textBytes = sizeBytes - headBytes - rest({ attachments, fileBytes, textBytes: 0 }).length;
  if (fileBytes < 1 || textBytes < 2) throw new RangeError(`no mail with an attachment fits into ${sizeBytes} bytes`);
  return { sizeBytes, attachments, head, rest: rest({ attachments, fileBytes, textBytes }) };
}

function head(run: string, serial: number): string {
  return [
    `From: Buyer <${REVERSE_PATH}>`,
    `To: ${FORWARD_PATH}`,
    'Subject: Purchase order 4711',
    'Date: Mon, 02 Mar 2026 10:00:00 +0100',
    `Message-ID: <${run.slice(0, RUN_CHARACTERS).padEnd(RUN_CHARACTERS, '0')}.${String(serial).padStart(10, '0')}@bench.example>`,
    '',
  ].join('\r\n');
}

function rest(o: { readonly attachments: number; readonly fileBytes: number; readonly textBytes: number }): Buffer {
  const parts = [
    `MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary="${BOUNDARY}"\r\n\r\n`,
    `--${BOUNDARY}\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n`,
    filler(o.textBytes),
  ];
  for (let number = 1; number <= o.attachments; number++) {
    parts.push(
      `\r\n--${BOUNDARY}\r\nContent-Type: application/pdf; name="order-${number}.pdf"\r\n`,
      'Content-Transfer-Encoding: base64\r\n',
      `Content-Disposition: attachment; filename="order-${number}.pdf"\r\n\r\n`,
      base64Lines(file(o.fileBytes, number)),
    );
  }
  parts.push(`\r\n--${BOUNDARY}--\r\n`);
  return Buffer.from(parts.join(''), 'latin1');
}

/** Text in lines of 78 octets with CRLF; no line begins with a dot. */
function filler(bytes: number): string {
  if (bytes < 2) return '';
  const line = `${'Please deliver as usual. '.repeat(4).slice(0, 76)}\r\n`;
  const text = line.repeat(Math.ceil(bytes / line.length)).slice(0, bytes - 2);
  return `${text.replace(/[\r\n]+$/, (end) => '-'.repeat(end.length))}\r\n`;
}

function base64Lines(bytes: Buffer): string {
  const text = bytes.toString('base64');
  const lines: string[] = [];
  for (let at = 0; at < text.length; at += BASE64_LINE_CHARACTERS) {
    lines.push(text.slice(at, at + BASE64_LINE_CHARACTERS));
  }
  return lines.join('\r\n');
}

/** A PDF by its first bytes, then noise that no compression shrinks; the same on every machine (xorshift32). */
function file(bytes: number, seed: number): Buffer {
  const content = Buffer.alloc(bytes);
  let state = (seed * 2_654_435_761) >>> 0;
  for (let at = 0; at < bytes; at++) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    content[at] = state & 0xff;
  }
  content.write('%PDF-1.7\n');
  return content;
}
