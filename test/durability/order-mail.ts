/** Purchase orders as the buyers' mail programs write them, with what has to be found again after any fault. */
import { createHash, randomBytes, randomInt, randomUUID } from 'node:crypto';
import { composeMail } from '../../src/testing/compose-mail.ts';

export interface OrderMail {
  readonly messageId: string;
  /** The organisations it is sent to, in one envelope. */
  readonly slugs: readonly string[];
  /** Byte for byte what has to be stored. */
  readonly raw: Buffer;
  readonly rawSha256: string;
  readonly attachments: readonly OrderAttachment[];
}

export interface OrderAttachment {
  readonly fileName: string;
  readonly sizeBytes: number;
  readonly sha256: string;
}

export interface OrderOptions {
  readonly slugs: readonly string[];
  /** Default: a new one. Given twice, with other content, it makes a conflict. */
  readonly messageId?: string;
  /** Default: one to four small ones, and now and then a larger one. */
  readonly attachmentBytes?: readonly number[];
}

export async function composeOrder({ slugs, messageId, attachmentBytes }: OrderOptions): Promise<OrderMail> {
  const id = messageId ?? `<${randomUUID()}@ledger.example>`;
  const contents = (attachmentBytes ?? ordinarySizes()).map((bytes) => randomBytes(bytes));
  const composed = await composeMail({
    messageId: id,
    to: slugs.map(addressOf).join(', '),
    subject: `Order ${randomInt(1_000_000)}`,
    // Dots at the start of lines, so that a stored mail differs when they are lost.
    text: `Dear supplier,\r\n.\r\n..\r\n. please find ${contents.length} files attached.\r\n${randomUUID()}`,
    attachments: contents.map((content, index) => ({
      fileName: `order-${index + 1}.bin`,
      content,
      contentType: 'application/octet-stream',
    })),
  });
  const raw = composed.subarray(-2).equals(Buffer.from('\r\n'))
    ? composed
    : Buffer.concat([composed, Buffer.from('\r\n')]);
  return {
    messageId: id,
    slugs,
    raw,
    rawSha256: sha256(raw),
    attachments: contents.map((content, index) => ({
      fileName: `order-${index + 1}.bin`,
      sizeBytes: content.length,
      sha256: sha256(content),
    })),
  };
}

/** A stream of orders without end: most new, some to both organisations, some with a Message-ID used before. */
export async function* orders(
  slugs: readonly string[],
  sizes: () => readonly number[] = ordinarySizes,
): AsyncGenerator<OrderMail, never, undefined> {
  let taken: string | undefined;
  for (let count = 1; ; count++) {
    const toAll = slugs.length > 1 && count % 7 === 0;
    const conflicting = count % 13 === 0 && taken !== undefined;
    const to = toAll ? slugs : [slugs[count % slugs.length] ?? ''];
    const mail = await composeOrder({
      slugs: conflicting ? slugs : to,
      attachmentBytes: sizes(),
      ...(conflicting && taken !== undefined ? { messageId: taken } : {}),
    });
    taken = mail.messageId;
    yield mail;
  }
}

export function addressOf(slug: string): string {
  return `orders+${slug}@orderflow.example.com`;
}

export function sha256(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}

function ordinarySizes(): number[] {
  const sizes = Array.from({ length: randomInt(1, 5) }, () => randomInt(1, 6_000));
  if (randomInt(10) === 0) sizes.push(200_000);
  return sizes;
}
