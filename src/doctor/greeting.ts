/** Who answers on an SMTP port: a server of ours, and by what name, or another program. */
import { connect } from 'node:net';
import { type Endpoint, reachable } from '../cli/endpoint.ts';

const ASK_TIMEOUT_MS = 3_000;
const MAX_ANSWER_CHARACTERS = 4096;

export interface Greeting {
  /** As its 220 announces it; empty where it announces none. */
  readonly name: string;
  /** Ours has no name of a product behind ESMTP, and its answer to EHLO greets back. */
  readonly ours: boolean;
}

/** Errors: rejects when nobody answers, or not within three seconds. */
export function readGreeting(endpoint: Endpoint): Promise<Greeting> {
  return new Promise((resolve, reject) => {
    const socket = connect({ ...reachable(endpoint), timeout: ASK_TIMEOUT_MS });
    // A socket's timeout starts anew with every byte.
    const late = setTimeout(() => socket.destroy(new Error('silent')), ASK_TIMEOUT_MS);
    let text = '';
    socket.setEncoding('latin1').on('data', (piece: string) => {
      if (text === '') socket.write('EHLO doctor.localhost\r\n');
      text += piece;
      if (/^250 /m.test(text) && socket.writable) socket.end('QUIT\r\n');
      if (text.length > MAX_ANSWER_CHARACTERS) socket.destroy();
    });
    socket.once('timeout', () => socket.destroy(new Error('silent')));
    socket.once('error', reject);
    socket.once('close', () => {
      clearTimeout(late);
      if (text === '') return reject(new Error('it closes the connection without a greeting'));
      const name = /^220[- ](\S+)/.exec(text)?.[1] ?? '';
      resolve({ name, ours: /^220 \S+ ESMTP\r\n250[- ]\S+ greets /.test(text) });
    });
  });
}
