/** Sends the mails of `stall.ts` from a thread of its own, so that its work is none of the server's. */
import { parentPort } from 'node:worker_threads';
import { sendRaw } from '../src/testing/smtp-client.ts';

export interface MailToSend {
  readonly port: number;
  readonly to: string;
  /** Shape: bytes as Latin-1 code points. */
  readonly mail: string;
}

parentPort?.on('message', async ({ port, to, mail }: MailToSend) => {
  const data = Buffer.from(mail, 'latin1');
  const { verdict } = await sendRaw({ port, from: 'buyer@example.com', to: [to], data, timeoutMs: 600_000 });
  parentPort?.postMessage(`${verdict.code} ${verdict.lines.join(' ')}`);
});
