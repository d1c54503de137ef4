import MailComposer from 'nodemailer/lib/mail-composer';

export interface TestMail {
  readonly from?: string;
  readonly to?: string;
  readonly subject?: string;
  /** With its angle brackets; null leaves the header out. */
  readonly messageId?: string | null;
  readonly date?: Date;
  readonly text?: string;
  readonly attachments?: readonly TestAttachment[];
  readonly headers?: Readonly<Record<string, string>>;
}

export interface TestAttachment {
  readonly fileName: string;
  readonly content: string | Uint8Array;
  readonly contentType?: string;
}

/** A mail as a mail program writes it, built by a library that is not ours. Shape: bytes with CRLF line ends. */
export async function composeMail(mail: TestMail = {}): Promise<Buffer> {
  const attachments = (mail.attachments ?? []).map(({ fileName, content, contentType }) => ({
    filename: fileName,
    content: Buffer.from(content),
    ...(contentType ? { contentType } : {}),
  }));
  const node = new MailComposer({
    from: mail.from ?? 'buyer@customer.example',
    to: mail.to ?? 'orders+acme@orderflow.example.com',
    subject: mail.subject ?? 'Purchase order',
    text: mail.text ?? 'Please find our order attached.',
    ...(mail.messageId ? { messageId: mail.messageId } : {}),
    ...(mail.date ? { date: mail.date } : {}),
    ...(mail.headers ? { headers: { ...mail.headers } } : {}),
    newline: 'windows',
    attachments,
  }).compile();
  const bytes = await node.build();
  return mail.messageId === null ? withoutMessageId(bytes) : bytes;
}

function withoutMessageId(bytes: Buffer): Buffer {
  const text = bytes.toString('latin1');
  const headerEnd = text.indexOf('\r\n\r\n');
  const header = text.slice(0, headerEnd + 2).replace(/^Message-ID:.*\r\n(?:[ \t].*\r\n)*/im, '');
  return Buffer.from(header + text.slice(headerEnd + 2), 'latin1');
}
