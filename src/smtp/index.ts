/**
 * An SMTP server that receives: give it a `MailReceiver` and it does the protocol. See `docs/smtp.md`.
 * Imports nothing but Node.
 */
export { addressKey, plainAddress } from './address-key.ts';
export { MailIncomplete } from './body-queue.ts';
export { asciiDomain } from './domain-name.ts';
export type { ReplyStage } from './engine.ts';
export { defaultLimits, type SmtpLimits } from './limits.ts';
export type {
  ReceiverStep,
  RepliedEvent,
  SessionStats,
  SmtpObserver,
  TlsHandshakeEvent,
  TransactionEndedEvent,
} from './observer.ts';
export type { ProxyProblem } from './proxy-gate.ts';
export type {
  AbortReason,
  Committed,
  MailBody,
  Mailbox,
  MailCommand,
  MailReceiver,
  MailTransaction,
  Refused,
  SessionFacts,
} from './receiver.ts';
export { ReceiverDeadline } from './receiver-deadline.ts';
export {
  createRefusal,
  enhancedCode,
  type Refusal,
  type Reply,
  type ReplyName,
  replies,
  replyLine,
} from './replies.ts';
export { createSmtpServer, type SmtpServer, type SmtpServerOptions } from './server.ts';
export type { SmtpTls } from './starttls.ts';
