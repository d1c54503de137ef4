/** Mails written by hand, byte for byte, and the four files of an order. */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import type { FileToSend } from './clients.ts';

const ORDERS = new URL('../../../testdata/orders/', import.meta.url);

export interface OrderFile extends FileToSend {
  readonly content: Buffer;
}

const XLSX = 'application/vnd.openxmlformats-officedocument.spreadsheetml.sheet';

export const PDF = orderFile('order.pdf', 'application/pdf');
export const SPREADSHEET = orderFile('order.xlsx', XLSX);
export const CSV = orderFile('order.csv', 'text/csv');
export const ZIP = orderFile('order.zip', 'application/zip');
export const LOGO = orderFile('logo.png', 'image/png');
export const ORDER: readonly OrderFile[] = [PDF, SPREADSHEET, CSV, ZIP];

function orderFile(name: string, type: string): OrderFile {
  const url = new URL(name, ORDERS);
  return { path: fileURLToPath(url), name, type, content: readFileSync(url) };
}

/** Header lines as they stand in the mail, without line ends; text is latin1, so that any byte can be written. */
export type Fields = readonly string[];

/** A leaf part; `body` is what stands in the mail, encoded already. */
export function part(fields: Fields, body: string): string {
  return [...fields, '', body].join('\r\n');
}

export function base64Part(fields: Fields, content: Uint8Array): string {
  const lines =
    Buffer.from(content)
      .toString('base64')
      .match(/.{1,76}/g) ?? [];
  return part([...fields, 'Content-Transfer-Encoding: base64'], lines.join('\r\n'));
}

export function filePart({ name, type, content }: OrderFile, disposition = 'attachment'): string {
  return base64Part(
    [`Content-Type: ${type}; name="${name}"`, `Content-Disposition: ${disposition}; filename="${name}"`],
    content,
  );
}

export function textPart(text: string, subtype = 'plain'): string {
  return part([`Content-Type: text/${subtype}; charset=utf-8`], text);
}

/** A part that says it has parts itself, of which none can be found: no line in it is a delimiter. */
export const UNREADABLE = part(['Content-Type: multipart/alternative; boundary="never"'], 'an order in words');

let boundaries = 0;

export function multipart(subtype: string, parts: readonly string[]): string {
  boundaries++;
  const boundary = `=_boundary_${boundaries}`;
  const body = parts.map((one) => `--${boundary}\r\n${one}\r\n`).join('');
  return part([`Content-Type: multipart/${subtype}; boundary="${boundary}"`], `${body}--${boundary}--`);
}

let mails = 0;

/**
 * `content` begins with its own Content-… fields, as the functions above write it. `fields` come after the usual ones
 * and take their place; `Subject: -` leaves that one out.
 */
export function mail(content: string, fields: Fields = []): Buffer {
  mails++;
  const own = fields.map((field) => field.slice(0, field.indexOf(':')).toLowerCase());
  const usual = [
    'From: Buyer <buyer@customer.example>',
    'To: orders+acme@orderflow.example.com',
    'Subject: Purchase order',
    'Date: Sun, 01 Mar 2026 10:00:00 +0000',
    `Message-ID: <${mails}.${process.pid}@customer.example>`,
    'MIME-Version: 1.0',
  ].filter((field) => !own.includes(field.slice(0, field.indexOf(':')).toLowerCase()));
  const header = [...usual, ...fields.filter((field) => !field.endsWith(': -'))].join('\r\n');
  return Buffer.from(`${header}\r\n${content}\r\n`, 'latin1');
}

/** A mail with these files attached. */
export function mailWith(files: readonly OrderFile[], fields: Fields = []): Buffer {
  return mail(
    multipart('mixed', [textPart('Please find our order attached.'), ...files.map((file) => filePart(file))]),
    fields,
  );
}
