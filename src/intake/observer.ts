/**
 * The SMTP library's events as log lines and metrics; what happens to a mail itself is told by `intake.ts`.
 *
 * A session has one line at `info`, and only if it was refused something: when it ends, or half a minute after the first
 * refusal that is not told yet, where it stays open.
 */
import { addressKey, ReceiverDeadline, replies, type SessionFacts, type SmtpObserver } from '../smtp/index.ts';
import type { BoundedLines } from '../telemetry/bounded-lines.ts';
import type { Log } from '../telemetry/log.ts';
import type { Metrics } from '../telemetry/metrics.ts';
import type { Tracing } from '../telemetry/tracing.ts';
import { type Clean, SessionRefusals } from './session-refusals.ts';

/** Whoever asks for an order finds its refusal within a minute, also in a session that stays open for an hour. */
const TELL_WITHIN_MS = 30_000;
const LOOK_EVERY_MS = 10_000;
/** A name has 255 octets at most (RFC 5321 §4.5.3.1.2); those of mail servers have some 30. */
const MAX_HELO_CHARACTERS = 200;

export interface SmtpObserverOptions {
  readonly log: Log;
  readonly metrics: Metrics;
  readonly tracing?: Tracing | undefined;
  readonly mailSeen?: () => void;
  /** Shared with the intake, so that one bound holds for both. */
  readonly lines: BoundedLines;
  readonly clean: Clean;
  /** For tests. Units: milliseconds. */
  readonly tellWithinMs?: number;
}

interface OpenSession {
  facts: SessionFacts;
  readonly refusals: SessionRefusals;
  /** Of accepted mails: they pay for the lines of those (`intake.ts`), what else was read for that of the session. */
  acceptedBytes: number;
  /** Of the first refusal that is not told. */
  refusedAt: number;
}

export function createSmtpObserver(o: SmtpObserverOptions): SmtpObserver {
  const { lines } = o;
  const tellWithinMs = o.tellWithinMs ?? TELL_WITHIN_MS;
  const told = createTold(o.clean);
  const sessions = new Map<string, OpenSession>();
  /** By id, those with refusals that are not told. */
  const untold = new Set<string>();
  let looking: NodeJS.Timeout | null = null;

  const tell = ({ facts, refusals }: OpenSession, more: Facts): void => {
    untold.delete(facts.sessionId);
    const taken = refusals.take();
    if (taken === null) return;
    const line = { ...told(facts), ...taken, ...more };
    const remoteAddress = addressKey(facts.remoteAddress);
    lines.write({ level: 'info', facts: line, message: 'SMTP refusals', remoteAddress });
  };
  const lookForOldOnes = (): void => {
    const now = performance.now();
    for (const id of untold) {
      const session = sessions.get(id);
      if (session === undefined) untold.delete(id);
      else if (now - session.refusedAt >= tellWithinMs) tell(session, { open: true });
    }
    if (untold.size > 0) return;
    if (looking !== null) clearInterval(looking);
    looking = null;
  };
  const refused = (session: OpenSession): void => {
    if (!session.refusals.any || untold.has(session.facts.sessionId)) return;
    session.refusedAt = performance.now();
    untold.add(session.facts.sessionId);
    looking ??= setInterval(lookForOldOnes, Math.min(LOOK_EVERY_MS, tellWithinMs)).unref();
  };

  return {
    sessionOpened(session) {
      const refusals = new SessionRefusals(o.clean);
      sessions.set(session.sessionId, { facts: session, refusals, acceptedBytes: 0, refusedAt: 0 });
      o.metrics.connectionOpened();
      o.tracing?.connectionOpened(session);
      o.log.debug(told(session), 'session opened');
    },
    sessionClosed(session, { durationMs, acceptedMails, transactions, bytesRead }) {
      o.metrics.connectionClosed(session.tls?.version ?? null);
      const open = sessions.get(session.sessionId);
      sessions.delete(session.sessionId);
      if (open !== undefined) {
        const bytes = Math.max(0, bytesRead - open.acceptedBytes);
        lines.received({ bytes, payFor: 'session', remoteAddress: addressKey(session.remoteAddress) });
        tell({ ...open, facts: session }, { accepted: acceptedMails });
      }
      const facts = { duration_ms: Math.round(durationMs), accepted: acceptedMails, transactions, bytes: bytesRead };
      o.log.debug({ ...told(session), ...facts }, 'session closed');
      o.tracing?.connectionClosed(session, {
        'orderflow.accepted': acceptedMails,
        'orderflow.transactions': transactions,
        'orderflow.bytes': bytesRead,
      });
    },
    connectionRefused(remoteAddress, condition, limit) {
      o.metrics.replied(replies[condition]);
      const facts = { remote_address: remoteAddress, condition, ...(limit !== null && { limit }) };
      const message = 'connection refused';
      lines.write({ level: 'warn', facts, message, kind: condition, remoteAddress: addressKey(remoteAddress) });
    },
    proxyHeaderRefused(peerAddress, reason) {
      const facts = { remote_address: peerAddress, reason };
      const message = 'no usable PROXY header from a listed balancer';
      lines.write({ level: 'warn', facts, message, kind: reason, remoteAddress: addressKey(peerAddress) });
    },
    tlsHandshake({ session, outcome, reason, offered, durationMs }) {
      o.metrics.tlsHandshake(outcome);
      if (outcome === 'completed') return;
      // The session ends with it: what it was refused before is told in the same line.
      untold.delete(session.sessionId);
      const refusals = sessions.get(session.sessionId)?.refusals.take();
      const handshake = { outcome, reason, offered, duration_ms: Math.round(durationMs) };
      const facts = { ...told(session), ...handshake, ...refusals };
      const message = 'TLS handshake failed';
      lines.write({ level: 'info', facts, message, kind: outcome, remoteAddress: addressKey(session.remoteAddress) });
    },
    replied(event) {
      o.metrics.replied(event);
      const session = sessions.get(event.session.sessionId);
      if (session === undefined) return;
      session.facts = event.session;
      session.refusals.replied(event);
      refused(session);
    },
    transactionEnded(event) {
      const { session, outcome, ackDurationMs, clientTold, bytes } = event;
      o.mailSeen?.();
      if (ackDurationMs !== null) o.metrics.acknowledged(ackDurationMs);
      if (outcome === 'committed' && !clientTold) {
        const message = 'the client was gone before it could read 250: it will send the mail again';
        const remoteAddress = addressKey(session.remoteAddress);
        lines.write({ level: 'warn', facts: told(session), message, remoteAddress });
      }
      const open = sessions.get(session.sessionId);
      if (open === undefined) return;
      if (outcome === 'committed') open.acceptedBytes += bytes;
      open.refusals.transactionEnded(event);
      refused(open);
    },
    fault(error, session, step) {
      o.metrics.processingError(null, error instanceof ReceiverDeadline ? 'deadline' : 'unexpected');
      const facts = { ...told(session), step, err: error };
      lines.write({ level: 'error', facts, message: 'a fault of ours while receiving', kind: step });
    },
  };
}

type Facts = Readonly<Record<string, unknown>>;

function createTold(clean: Clean): (session: SessionFacts) => Facts {
  return ({ sessionId, remoteAddress, heloName, tls }) => ({
    session_id: sessionId,
    remote_address: remoteAddress,
    helo_name: heloName === null ? null : clean(heloName, MAX_HELO_CHARACTERS),
    ...(tls !== null && { tls_version: tls.version, tls_cipher: tls.cipher }),
  });
}
