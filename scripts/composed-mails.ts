/** Mails with known content, composed by nodemailer: what goes in must come out. */
import { createHash } from 'node:crypto';
import MailComposer from 'nodemailer/lib/mail-composer/index.js';
import type { Random } from './mail-mutations.ts';

export interface ComposedMail {
  readonly mail: Buffer;
  readonly subject: string;
  readonly attachments: readonly { readonly filename: string; readonly size: number; readonly sha256: string }[];
}

const words = [
  'order',
  'Größe',
  'заказ',
  '注文書',
  '€',
  "it's",
  '"quoted"',
  'a;b',
  '100%',
  'ü'.normalize('NFD'),
  '𝒳',
  'x'.repeat(40),
];
const encodings = ['base64', 'quoted-printable'] as const;

export async function composeMail(random: Random): Promise<ComposedMail> {
  const text = (): string => Array.from({ length: 1 + random.integer(6) }, () => random.pick(words)).join(' ');
  const subject = text();
  const attachments = Array.from({ length: random.integer(5) }, () => ({
    filename: `${text()}.pdf`,
    content: Buffer.from(
      Array.from({ length: random.integer(300) }, () => random.pick([random.integer(256), 10, 13, 32, 61])),
    ),
    contentType: 'application/pdf',
    contentTransferEncoding: random.pick(encodings),
  }));
  const composer = new MailComposer({
    from: `"${text().replaceAll('"', '')}" <a@example.com>`,
    to: 'orders+acme@example.com',
    subject,
    text: text(),
    ...(random.integer(2) === 0 ? {} : { html: `<p>${text()}</p>` }),
    attachments,
  });
  const mail = await composer.compile().build();
  return {
    mail,
    subject,
    attachments: attachments.map(({ filename, content }) => ({
      filename,
      size: content.length,
      sha256: createHash('sha256').update(content).digest('hex'),
    })),
  };
}
