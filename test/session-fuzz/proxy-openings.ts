/**
 * What a balancer sends first, right and wrong.
 * Spec: https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt (2.1, 2.2)
 */
import type { Random } from '../../scripts/mail-mutations.ts';

export interface ProxyOpening {
  /** One character for each octet. */
  readonly bytes: string;
  /** `taken`: a session begins; `refused`: not a byte comes back; `unfinished`: more is awaited, and does not come. */
  readonly verdict: 'taken' | 'refused' | 'unfinished';
  /** Of the client, `address port`; null where it is the balancer's own. */
  readonly client: string | null;
}

const signature = '\r\n\r\n\0\r\nQUIT\n';
const ipv4 = '\xc0\x00\x02\x01\xc6\x33\x64\x01\xdc\x04\x00\x19';
const ipv6 = `\x20\x01\x0d\xb8${'\0'.repeat(11)}\x01${'\0'.repeat(16)}\xdc\x04\x00\x19`;

function binary(first: number, family: number, block: string, length = block.length): string {
  return signature + String.fromCharCode(first, family, length >> 8, length & 255) + block;
}

const taken = (bytes: string, client: string | null): ProxyOpening => ({ bytes, verdict: 'taken', client });
const refused = (bytes: string): ProxyOpening => ({ bytes, verdict: 'refused', client: null });
const unfinished = (bytes: string): ProxyOpening => ({ bytes, verdict: 'unfinished', client: null });

const good: readonly ProxyOpening[] = [
  taken('PROXY TCP4 192.0.2.1 198.51.100.1 56324 25\r\n', '192.0.2.1 56324'),
  taken('PROXY TCP6 2001:db8::1 ::1 56324 25\r\n', '2001:db8::1 56324'),
  taken('PROXY UNKNOWN\r\n', null),
  taken('PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n', null),
  taken(binary(0x21, 0x11, ipv4), '192.0.2.1 56324'),
  taken(binary(0x21, 0x11, `${ipv4}\x04\x00\x01x`), '192.0.2.1 56324'),
  taken(binary(0x21, 0x21, ipv6), '2001:db8::1 56324'),
  taken(binary(0x20, 0x00, ''), null),
];

const bad: readonly ProxyOpening[] = [
  refused('EHLO client.example\r\n'),
  refused('PROXY TCP4 192.0.2.1 198.51.100.1 56324\r\n'),
  refused('PROXY TCP4 192.0.2.256 198.51.100.1 56324 25\r\n'),
  refused('PROXY TCP4 192.0.2.1 198.51.100.1 056324 25\r\n'),
  refused('PROXY TCP4  192.0.2.1 198.51.100.1 56324 25\r\n'),
  refused('PROXY TCP4 192.0.2.1 198.51.100.1 56324 25\nEHLO client.example\r\n'),
  refused('proxy TCP4 192.0.2.1 198.51.100.1 56324 25\r\n'),
  refused(`PROXY UNKNOWN ${'x'.repeat(200)}\r\n`),
  refused(binary(0x31, 0x11, ipv4)),
  refused(binary(0x22, 0x11, ipv4)),
  refused(binary(0x21, 0x11, ipv4.slice(0, 4))),
  refused(binary(0x21, 0x11, ipv4, 60_000)),
  refused(`${signature.slice(0, 8)}XXXXXXXX`),
  unfinished('PROXY TCP4 192.0.2.1'),
  unfinished('PRO'),
  unfinished(signature),
  unfinished(binary(0x21, 0x21, ipv6).slice(0, 30)),
];

export function proxyOpening(random: Random): ProxyOpening {
  return random.pick(random.integer(5) === 0 ? bad : good);
}
