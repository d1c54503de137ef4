/** The SMTP library's events as log lines and metrics; what happens to a mail itself is told by `intake.ts`. */
import { ReceiverDeadline, type ReplyName, type SessionFacts, type SmtpObserver } from '../smtp/index.ts';
import type { Log } from '../telemetry/log.ts';
import type { Metrics } from '../telemetry/metrics.ts';
import type { Tracing } from '../telemetry/tracing.ts';

/** Refusals that `intake.ts` gave, and has logged with the trace they belong to. */
const TOLD_ALREADY: ReadonlySet<ReplyName> = new Set([
  'unknown-recipient',
  'relaying-denied',
  'mailbox-disabled',
  'sender-blocked',
  'unavailable',
  'storage-full',
  'unstorable',
]);

export function createSmtpObserver(o: {
  readonly log: Log;
  readonly metrics: Metrics;
  readonly tracing?: Tracing | undefined;
  readonly mailSeen?: () => void;
}): SmtpObserver {
  return {
    sessionOpened(session) {
      o.metrics.connectionOpened();
      o.tracing?.connectionOpened(session);
      o.log.debug(told(session), 'session opened');
    },
    sessionClosed(session, { durationMs, acceptedMails, transactions, bytesRead }) {
      o.metrics.connectionClosed();
      const facts = { duration_ms: Math.round(durationMs), accepted: acceptedMails, transactions, bytes: bytesRead };
      o.log.debug({ ...told(session), ...facts }, 'session closed');
      o.tracing?.connectionClosed(session, {
        'orderflow.accepted': acceptedMails,
        'orderflow.transactions': transactions,
        'orderflow.bytes': bytesRead,
      });
    },
    connectionRefused(remoteAddress, condition) {
      o.metrics.replied(condition);
      o.log.warn({ remote_address: remoteAddress, condition }, 'connection refused');
    },
    proxyHeaderRefused(peerAddress, reason) {
      o.log.warn({ remote_address: peerAddress, reason }, 'no usable PROXY header from a listed balancer');
    },
    tlsHandshake({ session, outcome, reason, durationMs }) {
      o.metrics.tlsHandshake(outcome);
      if (outcome === 'completed') return;
      const facts = { outcome, reason, duration_ms: Math.round(durationMs) };
      o.log.info({ ...told(session), ...facts }, 'TLS handshake failed');
    },
    replied({ session, code, enhanced, condition, stage, address }) {
      o.metrics.replied(condition);
      if (code < 400 || TOLD_ALREADY.has(condition)) return;
      o.log.info({ ...told(session), stage, code, enhanced, condition, address }, 'command refused');
    },
    transactionEnded({ session, outcome, ackDurationMs, clientTold }) {
      o.mailSeen?.();
      if (ackDurationMs !== null) o.metrics.acknowledged(ackDurationMs);
      if (outcome === 'committed' && !clientTold) {
        o.log.warn(told(session), 'the client was gone before it could read 250: it will send the mail again');
      }
    },
    fault(error, session, step) {
      o.metrics.processingError(null, error instanceof ReceiverDeadline ? 'deadline' : 'unexpected');
      o.log.error({ ...told(session), step, err: error }, 'a fault of ours while receiving');
    },
  };
}

function told(session: SessionFacts): Record<string, unknown> {
  const { sessionId, remoteAddress, heloName, tls } = session;
  return {
    session_id: sessionId,
    remote_address: remoteAddress,
    helo_name: heloName,
    ...(tls !== null && { tls_version: tls.version, tls_cipher: tls.cipher }),
  };
}
