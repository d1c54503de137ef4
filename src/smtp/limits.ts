/**
 * Every bound of the receiver, by name, with the arithmetic behind it. All are positive whole numbers; there is no
 * "unlimited". Units: bytes, milliseconds or counts, as the name says.
 */
export interface SmtpLimits {
  /** Stored octets of one mail, dot-stuffing undone. Offered as SIZE; the connection is cut at twice this. */
  readonly maxMessageBytes: number;
  /** Accepted recipients of one mail. RFC 5321 §4.5.3.1.8: at least 100. */
  readonly maxRecipients: number;
  /** RCPT commands answered "too many" before the session is closed: a list of 1,100 is still honest. */
  readonly maxExcessRecipients: number;

  readonly maxConnections: number;
  /** By client, also behind PROXY; IPv6 counts by /64. Binds once half of `maxConnections` is taken. */
  readonly maxConnectionsPerAddress: number;

  /** Protocol errors without an accepted mail in between (RFC 5321 §7.8); Postfix has 20 as well. */
  readonly maxErrors: number;
  /** Refusals by the application, and our own faults, without an accepted mail in between. */
  readonly maxRefusals: number;
  /** NOOP, RSET, VRFY, HELP and repeated EHLO without an accepted mail in between. */
  readonly maxJunkCommands: number;
  /**
   * BDAT chunks below `smallChunkBytes` that are not the last, without an accepted mail in between. Each costs us as
   * much as a command does (10 µs), and without a bound a mail could be made of 25 million of them.
   */
  readonly maxSmallChunks: number;
  /** Overlong lines in a session; at this many it is closed. RFC 5321 §4.5.3.1 */
  readonly maxOverlongLines: number;
  /** An overlong command line is read to its end, unstored, as far as this; then the session is closed. */
  readonly maxDiscardedLineBytes: number;

  /** Commands waiting behind one that is being answered; then the socket is paused. One read of Node is 64 KiB. */
  readonly maxBufferedInputBytes: number;
  /** Body waiting for the receiver; then the socket is paused. A chunk under way comes on top (64 KiB). */
  readonly maxBufferedBodyBytes: number;
  /** Replies the client does not read; then its commands are no longer read. */
  readonly maxUnreadReplyBytes: number;

  /**
   * Held for all connections that hold more than `maxSmallHeldBytes` (`memory-places.ts`). The others come on top, with that
   * and two reads of 64 KiB each at most: beside 128 MiB for 186 large mails, 160 KiB × 1,000 in the worst case.
   */
  readonly maxHeldBytes: number;
  /** Commands, replies and a mail of this size are never made to wait for memory: three ordinary mails of 10 KB. */
  readonly maxSmallHeldBytes: number;
  /** What the receiver holds of a mail at most, with the chunk in its hands: it is counted as held, as far as it came. */
  readonly maxReceiverBytes: number;
  /** After waiting for memory this long, another connection is cut for it. Clients give up after 3 minutes. */
  readonly placeWaitMs: number;
  /** Slower ones are cut when nobody holds more memory than who waits for some. A mail of 25 MB takes 53 minutes. */
  readonly minPlaceBytesPerSecond: number;

  /** Waiting for a command. RFC 5321 §4.5.3.2.7: at least 5 minutes. */
  readonly idleTimeoutMs: number;
  /** From the first byte of a command to its line end. */
  readonly commandTimeoutMs: number;
  /** Between two pieces of the mail. RFC 5321 §4.5.3.2.5: 3 minutes. */
  readonly dataTimeoutMs: number;
  /** A mail may keep us waiting for `dataGraceMs` plus its bytes at this rate; a pause by us is not counted. */
  readonly minDataBytesPerSecond: number;
  readonly dataGraceMs: number;
  /** From our reply to STARTTLS to the end of the handshake. */
  readonly tlsHandshakeTimeoutMs: number;
  /** From a balancer's connect to the end of its PROXY header; long enough for one lost packet. */
  readonly proxyHeaderTimeoutMs: number;
  /** Age at which a session is closed between two commands. */
  readonly maxSessionMs: number;
  /** Every call of the receiver, and every step of its reading of the body. RFC 5321 §4.5.3.2.3: clients wait 5 min. */
  readonly receiverTimeoutMs: number;

  /** After our last reply the input is discarded for this long and this much, so that no RST eats the reply. */
  readonly lingerMs: number;
  readonly maxLingerBytes: number;
}

const minuteMs = 60_000;

export const defaultLimits: SmtpLimits = {
  maxMessageBytes: 25 * 1024 * 1024,
  maxRecipients: 100,
  maxExcessRecipients: 1_000,
  maxConnections: 1_000,
  maxConnectionsPerAddress: 50,
  maxErrors: 20,
  maxRefusals: 100,
  maxJunkCommands: 100,
  maxSmallChunks: 10_000,
  maxOverlongLines: 2,
  maxDiscardedLineBytes: 64 * 1024,
  maxBufferedInputBytes: 64 * 1024,
  maxBufferedBodyBytes: 64 * 1024,
  maxUnreadReplyBytes: 64 * 1024,
  maxHeldBytes: 128 * 1024 * 1024,
  maxSmallHeldBytes: 32 * 1024,
  maxReceiverBytes: 512 * 1024,
  placeWaitMs: 5_000,
  minPlaceBytesPerSecond: 8 * 1024,
  idleTimeoutMs: 5 * minuteMs,
  commandTimeoutMs: minuteMs,
  dataTimeoutMs: 3 * minuteMs,
  minDataBytesPerSecond: 256,
  dataGraceMs: minuteMs,
  tlsHandshakeTimeoutMs: minuteMs / 2,
  proxyHeaderTimeoutMs: minuteMs / 6,
  maxSessionMs: 60 * minuteMs,
  receiverTimeoutMs: minuteMs / 2,
  lingerMs: 1_000,
  maxLingerBytes: 256 * 1024,
};

/** Buffers count chunks as well as bytes: a client sending one byte a packet must not make 65,536 objects of them. */
export const maxBufferedChunks = 16;

/** Larger ones are bounded by the size of the mail: 25 MiB are 25,600 of them. */
export const smallChunkBytes = 1024;

/** RFC 5321 §4.5.3.1.4: 512 octets with CRLF. */
export const maxCommandLineBytes = 512;
/**
 * 512 + 26 (SIZE, RFC 1870 §3) + 17 (BODY, RFC 6152 §2) + 10 (SMTPUTF8) + 460 (its addresses, RFC 6531 §3.1)
 * + 9 + 107 (RET and ENVID, RFC 3461 §4.3, §4.4, with a space before each) + 500 (AUTH, RFC 4954 §3).
 */
export const maxMailLineBytes = maxCommandLineBytes + 26 + 17 + 10 + 460 + 9 + 107 + 500;
/** 512 + 460 (RFC 6531 §3.1) + 29 + 501 (NOTIFY and ORCPT, RFC 3461 §4.1, §4.2, with a space before each). */
export const maxRcptLineBytes = maxCommandLineBytes + 460 + 29 + 501;

/** Fills in the defaults. Errors: RangeError naming every wrong limit: 0, NaN, fractions, strings, unknown names. */
export function resolveLimits(given: Partial<SmtpLimits> = {}): SmtpLimits {
  const problems: string[] = [];
  for (const [name, value] of Object.entries(given) as [string, unknown][]) {
    if (!Object.hasOwn(defaultLimits, name)) problems.push(`${name}: no such limit`);
    else if (value !== undefined && !(Number.isSafeInteger(value) && (value as number) > 0))
      problems.push(`${name}: must be a positive whole number, not ${JSON.stringify(value) ?? String(value)}`);
  }
  if (problems.length > 0) throw new RangeError(`SMTP limits: ${problems.join('; ')}`);
  const set = Object.entries(given).filter(([, value]) => value !== undefined);
  return { ...defaultLimits, ...Object.fromEntries(set) };
}
