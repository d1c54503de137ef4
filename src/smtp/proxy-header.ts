/**
 * The header with which a balancer says who the client is, both versions. Knows bytes, no sockets: it is given all that
 * has come so far, and asked again when there is more.
 * Spec: https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt (2.1 version 1, 2.2 version 2)
 */
import { isIPv4, isIPv6, SocketAddress } from 'node:net';
import { plainAddress } from './address-key.ts';

export interface ProxiedClient {
  readonly address: string;
  readonly port: number;
}

export type ProxyHeader =
  | { readonly kind: 'incomplete' }
  /** `client` is null for a connection of the balancer's own (LOCAL), or of one it knows nothing about (UNKNOWN). */
  | { readonly kind: 'complete'; readonly client: ProxiedClient | null; readonly headerBytes: number }
  | { readonly kind: 'refused'; readonly reason: ProxyRefusal };

export type ProxyRefusal = 'no-header' | 'malformed' | 'too-long' | 'unsupported';

/** Version 1, with CRLF: "worst case (optional fields set to 0xff)" of the specification. */
const maxTextBytes = 107;
/** Version 2: 16, the longest address block (216, UNIX), and room for what balancers add (TLS facts, a cloud's ids). */
const maxBinaryBytes = 16 + 4_096;

const textStart = Buffer.from('PROXY ');
const binaryStart = Buffer.from('\r\n\r\n\0\r\nQUIT\n', 'latin1');

const incomplete: ProxyHeader = { kind: 'incomplete' };
const refused = (reason: ProxyRefusal): ProxyHeader => ({ kind: 'refused', reason });

export function parseProxyHeader(bytes: Buffer): ProxyHeader {
  if (bytes.length === 0) return incomplete;
  if (bytes[0] === textStart[0]) return beginsWith(bytes, textStart) ? parseText(bytes) : refused('no-header');
  return beginsWith(bytes, binaryStart) ? parseBinary(bytes) : refused('no-header');
}

/** As far as there are bytes. */
function beginsWith(bytes: Buffer, start: Buffer): boolean {
  const length = Math.min(bytes.length, start.length);
  return bytes.subarray(0, length).equals(start.subarray(0, length));
}

function parseText(bytes: Buffer): ProxyHeader {
  const end = bytes.subarray(0, maxTextBytes).indexOf('\r\n');
  if (end === -1) {
    if (bytes.length >= maxTextBytes) return refused('too-long');
    // A line feed alone never ends it, and a CR is followed by one.
    const bare = bytes.indexOf('\n') !== -1 || /\r[\s\S]/.test(bytes.toString('latin1'));
    return bare ? refused('malformed') : incomplete;
  }
  const line = bytes.toString('latin1', textStart.length, end);
  const headerBytes = end + 2;
  if (/^UNKNOWN(?: [^\r\n]*)?$/.test(line)) return { kind: 'complete', client: null, headerBytes };
  const client = textClient(line);
  return client === null ? refused('malformed') : { kind: 'complete', client, headerBytes };
}

/** `TCP4 192.0.2.1 198.51.100.1 56324 25`; single spaces, ports without leading zeros. */
function textClient(line: string): ProxiedClient | null {
  const found = /^TCP([46]) ([0-9a-fA-F.:]+) ([0-9a-fA-F.:]+) (0|[1-9]\d{0,4}) (0|[1-9]\d{0,4})$/.exec(line);
  if (found === null) return null;
  const [, family, source = '', destination = '', sourcePort, destinationPort] = found;
  const isRight = family === '4' ? isIPv4 : isIPv6;
  if (!isRight(source) || !isRight(destination)) return null;
  if (Number(sourcePort) > 65_535 || Number(destinationPort) > 65_535) return null;
  return { address: canonical(source, family === '4' ? 'ipv4' : 'ipv6'), port: Number(sourcePort) };
}

function parseBinary(bytes: Buffer): ProxyHeader {
  if (bytes.length < 16) return incomplete;
  const version = bytes.readUInt8(12) >> 4;
  const command = bytes.readUInt8(12) & 0x0f;
  const familyAndTransport = bytes.readUInt8(13);
  const headerBytes = 16 + bytes.readUInt16BE(14);
  if (version !== 2 || command > 1) return refused('unsupported');
  if (headerBytes > maxBinaryBytes) return refused('too-long');
  const shortest = command === 0 ? 0 : addressBytes[familyAndTransport];
  if (shortest === undefined) return refused('unsupported');
  if (headerBytes < 16 + shortest) return refused('malformed');
  if (bytes.length < headerBytes) return incomplete;
  const client = command === 0 ? null : binaryClient(familyAndTransport, bytes.subarray(16, 16 + shortest));
  return { kind: 'complete', client, headerBytes };
}

const tcp4 = 0x11;
const tcp6 = 0x21;

/** Of those that can stand before SMTP: unspecified, TCP over IPv4 and IPv6, UNIX streams. */
const addressBytes: Readonly<Record<number, number>> = { 0: 0, [tcp4]: 12, [tcp6]: 36, 49: 216 };

/** Source address, destination address, source port, destination port. */
function binaryClient(familyAndTransport: number, block: Buffer): ProxiedClient | null {
  if (familyAndTransport === tcp4) return { address: [...block.subarray(0, 4)].join('.'), port: block.readUInt16BE(8) };
  if (familyAndTransport !== tcp6) return null;
  const groups = Array.from({ length: 8 }, (_, index) => block.readUInt16BE(2 * index).toString(16));
  return { address: canonical(groups.join(':'), 'ipv6'), port: block.readUInt16BE(32) };
}

/** One way to write each address: it is counted by, logged and recorded. An IPv4 client seen as IPv6 is IPv4. */
function canonical(address: string, family: 'ipv4' | 'ipv6'): string {
  return plainAddress(new SocketAddress({ address, family }).address);
}
