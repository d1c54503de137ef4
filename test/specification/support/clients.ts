/** Mail clients that we did not write, all with one answer: the replies they got, and the mail they sent. */
import { fileURLToPath } from 'node:url';
import { createTransport } from 'nodemailer';
import type Mail from 'nodemailer/lib/mailer';
import { findProgram, run } from './programs.ts';

export const SMTPLIB = findProgram('python3');
export const SWAKS = findProgram('swaks');
export const SMTP_SOURCE = findProgram('smtp-source');

export interface Envelope {
  readonly port: number;
  readonly from?: string;
  readonly to?: readonly string[];
}

export interface Delivered {
  /** The reply that decided, as it stood on the wire: `250 2.0.0 accepted …`. */
  readonly verdict: string;
  /** The mail as the client sent it, dot-stuffing undone; null where the client does not tell. */
  readonly data: Buffer | null;
}

export interface FileToSend {
  readonly path: string;
  readonly name: string;
  readonly type: string;
}

const BUYER = 'buyer@customer.example';
const ACME = ['orders+acme@orderflow.example.com'];

/** Python's email package composes the mail, its smtplib sends it. */
export async function sendBySmtplib(
  envelope: Envelope,
  mail:
    | Uint8Array
    | { headers: readonly (readonly [string, string])[]; text: string; attachments: readonly FileToSend[] },
): Promise<Delivered> {
  const { port, from = BUYER, to = ACME } = envelope;
  const request = {
    ...{ port, from, to },
    ...(mail instanceof Uint8Array ? { data: Buffer.from(mail).toString('base64') } : { message: mail }),
  };
  const script = fileURLToPath(new URL('./smtplib_client.py', import.meta.url));
  const { code, stdout, stderr } = await run(SMTPLIB ?? 'python3', [script], { input: JSON.stringify(request) });
  if (code !== 0) throw new Error(`smtplib: ${stderr}`);
  const answer = JSON.parse(stdout.toString()) as { replies: [string, number, string][]; data: string };
  const [, replyCode, text] = answer.replies.at(-1) ?? ['', 0, ''];
  return { verdict: `${replyCode} ${text}`, data: Buffer.from(answer.data, 'base64') };
}

/** swaks as the README shows it; `extra` are further options of its own. */
export async function sendBySwaks(
  envelope: Envelope,
  files: readonly FileToSend[],
  extra: readonly string[] = [],
): Promise<Delivered & { readonly exitCode: number | null; readonly transcript: string }> {
  const { port, from = BUYER, to = ACME } = envelope;
  const attach = files.flatMap(({ path, name, type }) => [
    ...['--attach-type', type, '--attach-name', name, '--attach', `@${path}`],
  ]);
  const where = ['--server', `127.0.0.1:${port}`, '--from', from, '--to', to.join(',')];
  const { code, stdout, stderr } = await run(SWAKS ?? 'swaks', [...where, ...attach, ...extra]);
  const transcript = stdout.toString('latin1') + stderr;
  return { verdict: verdictIn(transcript), data: dataIn(transcript), exitCode: code, transcript };
}

/**
 * The last reply before QUIT. swaks writes ` -> ` before what it sends, `<-  ` and, refused, `<** ` before replies; under
 * TLS ` ~> `, `<~  ` and `<~* `.
 */
function verdictIn(transcript: string): string {
  const session = transcript.split(/\n [-~]> QUIT/)[0] ?? '';
  const replies = [...session.matchAll(/^<(?:[-~] {2}|[*~]\* )(\d{3} .*)$/gm)];
  return replies.at(-1)?.[1] ?? '';
}

function dataIn(transcript: string): Buffer | null {
  const lines = transcript.split('\n').map((line) => line.replace(/\r$/, ''));
  const begin = lines.findIndex((line) => line.startsWith('<-  354')) + 1;
  const end = lines.indexOf(' -> .', begin);
  if (begin === 0 || end === -1) return null;
  const sent = lines.slice(begin, end).map((line) => `${line.slice(4).replace(/^\./, '')}\r\n`);
  return Buffer.from(sent.join(''), 'latin1');
}

/** Postfix's load generator. Errors: rejects unless every mail got its 250. */
export async function sendBySmtpSource(
  envelope: Envelope,
  load: {
    readonly mails: number;
    readonly sessions: number;
    readonly bytes?: number;
    readonly extra?: readonly string[];
  },
): Promise<void> {
  const { port, from = BUYER, to = ACME } = envelope;
  const { mails, sessions, bytes = 10_000, extra = [] } = load;
  const options = ['-m', `${mails}`, '-s', `${sessions}`, '-l', `${bytes}`, '-f', from, '-t', to[0] ?? ''];
  const { code, stderr } = await run(SMTP_SOURCE ?? 'smtp-source', [...options, ...extra, `127.0.0.1:${port}`]);
  if (code !== 0 || stderr !== '') throw new Error(`smtp-source ended with ${code}: ${stderr}`);
}

/** nodemailer composes and sends. Errors: rejects when the mail is refused, with the reply as `response`. */
export async function sendByNodemailer(envelope: Envelope, mail: Mail.Options): Promise<Delivered> {
  const { port, from = BUYER, to = ACME } = envelope;
  const transport = createTransport({ host: '127.0.0.1', port, secure: false, ignoreTLS: true });
  try {
    const { response } = await transport.sendMail({ from, to: [...to], envelope: { from, to: [...to] }, ...mail });
    return { verdict: response, data: null };
  } finally {
    transport.close();
  }
}
