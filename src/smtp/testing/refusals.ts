/** What an application may refuse with, for tests. */
import { createRefusal, type Refusal } from '../replies.ts';

const refusal = (condition: string, code: number, subject: number, detail: number, text: string): Refusal =>
  createRefusal({ condition, code, subject, detail, text });

export const refusals = {
  'unknown-recipient': refusal('unknown-recipient', 550, 1, 1, 'Unknown recipient'),
  'sender-blocked': refusal('sender-blocked', 550, 7, 1, 'Sender not accepted'),
  'storage-full': refusal('storage-full', 452, 3, 1, 'Insufficient storage, try again later'),
  unavailable: refusal('unavailable', 451, 3, 0, 'Temporary failure, try again later ({sessionId})'),
};
