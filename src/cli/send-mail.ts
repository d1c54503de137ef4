/** Mails files as a buyer's program would, with TLS where the server offers it, streaming them from disk. */
import { basename } from 'node:path';
import { createTransport } from 'nodemailer';
import { visible } from '../telemetry/visible-text.ts';
import { CommandFailure } from './context.ts';
import { type Endpoint, endpointText } from './endpoint.ts';

export interface Mail {
  readonly from: string;
  readonly to: string;
  readonly subject: string;
  readonly files: readonly string[];
}

const connectTimeoutMs = 10_000;
/** The server may take its time at the end of DATA. Spec: RFC 5321 §4.5.3.2.6 */
const replyTimeoutMs = 120_000;

/**
 * Shape: the server's accepting reply, one line.
 * Errors: `CommandFailure` with the refusing reply, or with what to do when no server answers.
 */
export async function sendMail(server: Endpoint, mail: Mail): Promise<string> {
  const transport = createTransport({
    host: server.host,
    port: server.port,
    secure: false,
    // As mail servers do among each other: the certificate names the public host, which this may not be.
    tls: { rejectUnauthorized: false },
    connectionTimeout: connectTimeoutMs,
    greetingTimeout: connectTimeoutMs,
    socketTimeout: replyTimeoutMs,
  });
  try {
    const sent = await transport.sendMail({
      from: mail.from,
      to: mail.to,
      subject: mail.subject,
      text: 'Please find our purchase order attached.\n',
      attachments: mail.files.map((path) => ({ filename: basename(path), path })),
    });
    return oneLine(sent.response);
  } catch (error) {
    throw explained(error, server);
  } finally {
    transport.close();
  }
}

const oneLine = (reply: string): string => visible(reply.replace(/\s*[\r\n]+\s*/g, ' ').trim());

interface SmtpFault extends Error {
  readonly code?: string;
  readonly response?: string;
}

function explained(error: unknown, server: Endpoint): unknown {
  if (!(error instanceof Error)) return error;
  const { code, response, message } = error as SmtpFault;
  const where = endpointText(server);
  if (response !== undefined)
    return new CommandFailure(`${where} refused the mail: ${oneLine(response)}`, { cause: error });
  if (/ECONNREFUSED/.test(`${code} ${message}`)) {
    const advice = 'start it, or give --smtp';
    return new CommandFailure(`no server listens on ${where}: ${advice}`, { cause: error });
  }
  if (code === 'EDNS' || /ENOTFOUND|EAI_AGAIN/.test(message)) {
    return new CommandFailure(`the name ${server.host} cannot be resolved: give --smtp host:port`, { cause: error });
  }
  const smtpFault = code === 'ETIMEDOUT' || code === 'ECONNECTION' || code === 'ESOCKET' || code === 'EPROTOCOL';
  if (smtpFault) return new CommandFailure(`${where} did not take the mail: ${oneLine(message)}`, { cause: error });
  return error;
}
