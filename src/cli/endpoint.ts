/** Addresses as a person can use them. */
import { isIPv6 } from 'node:net';

export interface Endpoint {
  readonly host: string;
  readonly port: number;
}

/** Where a client on this machine reaches a server that listens on `host`: "every address" is no address. */
export function reachable({ host, port }: Endpoint): Endpoint {
  if (host === '0.0.0.0') return { host: '127.0.0.1', port };
  if (/^[0:]+$/.test(host) && isIPv6(host)) return { host: '::1', port };
  return { host, port };
}

export const endpointText = ({ host, port }: Endpoint): string => `${isIPv6(host) ? `[${host}]` : host}:${port}`;
