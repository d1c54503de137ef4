/** How a mail is refused: every reply that is ours and not the protocol's. `docs/replies.md` has them for readers. */
import { createRefusal, type Refusal } from '../smtp/index.ts';

const refusal = (condition: string, code: number, subject: number, detail: number, text: string): Refusal =>
  createRefusal({ condition, code, subject, detail, text });

/** 5xx only for a verdict that we would repeat tomorrow. */
export const refusals = {
  'unknown-recipient': refusal('unknown-recipient', 550, 1, 1, 'Unknown recipient'),
  'relaying-denied': refusal('relaying-denied', 550, 7, 1, 'Relaying denied'),
  'mailbox-disabled': refusal('mailbox-disabled', 550, 2, 1, 'Mailbox disabled'),
  'sender-blocked': refusal('sender-blocked', 550, 7, 1, 'Sender not accepted'),
  unavailable: refusal('unavailable', 451, 3, 0, 'Temporary failure, try again later ({sessionId})'),
  'storage-full': refusal('storage-full', 452, 3, 1, 'Insufficient storage, try again later'),
  'routing-loop': refusal('routing-loop', 554, 4, 6, 'Routing loop'),
  unstorable: refusal('unstorable', 554, 6, 0, 'Message content cannot be recorded'),
} as const satisfies Record<string, Refusal>;

export type RefusalName = keyof typeof refusals;
