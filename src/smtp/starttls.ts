/**
 * From a plain socket to a TLS one on the same connection.
 * Spec: RFC 3207
 */
import type { Socket } from 'node:net';
import { type SecureContext, TLSSocket } from 'node:tls';

export interface SmtpTls {
  /** Asked at every STARTTLS, so that a renewed certificate is served from the next handshake on. */
  readonly secureContext: () => SecureContext;
  /** Mail is refused before STARTTLS. RFC 3207 §4: never on a server that everybody may send to. */
  readonly required?: boolean;
}

export interface Handshake {
  readonly completed: () => void;
  /**
   * Also later: what breaks the TLS session after its handshake. The socket is destroyed. `offered` is the newest version
   * that the client had offered, up to TLS 1.2, or the one agreed on; null when it said nothing that was understood.
   */
  readonly failed: (reason: string, offered: string | null) => void;
}

/**
 * Failures behind a ClientHello that OpenSSL has read: when no version is shared, `getProtocol` tells the client's. Behind
 * others it tells our own newest one. An alert comes from the client, which has then seen our part of the handshake.
 */
const saysHello = /^ERR_SSL_(UNSUPPORTED_PROTOCOL|NO_SHARED_CIPHER|NO_SUITABLE_\w+|\w+_ALERT_\w+)$/;

/**
 * Call it in the very turn in which STARTTLS was read: no byte of the client's handshake can have arrived by then that is
 * not also in the clear, and dropped.
 * Owns: the plain socket; nobody else may read or write it any more.
 */
export function secured(plain: Socket, secureContext: SecureContext, handshake: Handshake): TLSSocket {
  // Read by a pause and not handed over: Node would take it for the beginning of the handshake.
  while (plain.read() !== null);
  // highWaterMark 1: see the server.
  const socket = new TLSSocket(plain, { isServer: true, secureContext, ...({ highWaterMark: 1 } as object) });
  // TLS 1.2 only, and one handshake is all a client needs; it costs the server far more than the client.
  socket.disableRenegotiation();
  socket.on('secure', handshake.completed);
  socket.on('error', () => {});
  // Its last bytes were taken before the handle changed hands: TLS will not hear of it.
  plain.once('end', () => socket.destroy());
  // A server's TLSSocket that belongs to no tls.Server says it by this event alone, and stays open.
  socket.on('_tlsError', (error: NodeJS.ErrnoException) => {
    const reason = error.code ?? 'unknown';
    handshake.failed(reason, saysHello.test(reason) ? socket.getProtocol() : null);
    socket.destroy();
  });
  return socket;
}
