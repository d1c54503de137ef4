/** Where the mail of a domain is delivered, as a sender finds it out: RFC 5321 §5.1. */
import { isIP } from 'node:net';
import { networkInterfaces } from 'node:os';
import { type Greeting, readGreeting } from './greeting.ts';
import { DnsAwayError, type MailDns, type MxRecord } from './mail-dns.ts';

/**
 * `here`: to this machine, or to a server that answers by our name. `perhaps-here`: to our name at an address that is not this
 * machine's and does not answer from here, as behind NAT. `nowhere`: it has no address.
 */
export type Destination = 'here' | 'perhaps-here' | 'microsoft-365' | 'google' | 'elsewhere' | 'nowhere';

/** A host that senders deliver to. */
export interface MailHost {
  readonly name: string;
  /** Senders try the lowest first, and those alike in any order. */
  readonly preference: number;
  readonly addresses: readonly string[];
  readonly leads: Destination;
  /** It is an alias of that name, which an MX must not name. Spec: RFC 2181 §10.3, RFC 5321 §5.1 */
  readonly alias: string | null;
  /** The record has an address in the place of a name. */
  readonly isAddress: boolean;
  /** Who answered on port 25 there; null: nobody, or nobody was asked. */
  readonly greeting: Greeting | null;
}

export type MailRoute =
  /** In the order in which senders try them. `by`: without an MX record the domain's own address is taken. */
  | {
      readonly domain: string;
      readonly kind: 'hosts';
      readonly by: 'mx' | 'address';
      readonly hosts: readonly MailHost[];
    }
  /** The domain says that it takes no mail. Spec: RFC 7505 */
  | { readonly domain: string; readonly kind: 'null-mx' }
  | { readonly domain: string; readonly kind: 'nothing' }
  /** `code`: why DNS could not be asked. */
  | { readonly domain: string; readonly kind: 'unknown'; readonly code: string };

export interface RouteOptions {
  readonly dns: MailDns;
  /** The name in our greeting. */
  readonly announcedName: string;
  /** Default: those of this machine's interfaces. */
  readonly ownAddresses?: readonly string[];
  /** Where senders deliver; another one for tests. */
  readonly port?: number;
}

/** Beyond that nobody tries, and we need not ask. */
const MAX_HOSTS = 10;
const MAX_ASKED_ADDRESSES = 2;

/** Never rejects for want of DNS: that is a kind of route. */
export async function findMailRoute(domain: string, options: RouteOptions): Promise<MailRoute> {
  try {
    const records = await options.dns.mxOf(domain);
    const named = records.filter(({ exchange }) => exchange !== '');
    if (named.length > 0) {
      const hosts = await Promise.all(named.slice(0, MAX_HOSTS).map((record) => findHost(record, options)));
      return { domain, kind: 'hosts', by: 'mx', hosts };
    }
    if (records.length > 0) return { domain, kind: 'null-mx' };
    const itself = await findHost({ exchange: domain, priority: 0 }, options);
    if (itself.leads === 'nowhere') return { domain, kind: 'nothing' };
    // As an address, and not as an MX, it may be an alias.
    return { domain, kind: 'hosts', by: 'address', hosts: [{ ...itself, alias: null }] };
  } catch (error) {
    if (!(error instanceof DnsAwayError)) throw error;
    return { domain, kind: 'unknown', code: error.code };
  }
}

async function findHost({ exchange, priority: preference }: MxRecord, options: RouteOptions): Promise<MailHost> {
  const name = exchange.toLowerCase();
  if (isIP(name) !== 0) {
    return { name, preference, addresses: [], leads: 'nowhere', alias: null, isAddress: true, greeting: null };
  }
  const { dns, announcedName, ownAddresses = addressesOfThisMachine(), port = 25 } = options;
  const [addresses, alias] = await Promise.all([dns.addressesOf(name), dns.aliasOf(name)]);
  const found = (leads: Destination, greeting: Greeting | null = null): MailHost => {
    return { name, preference, addresses, leads, alias, isAddress: false, greeting };
  };
  const provider = providerOf(name);
  if (provider !== null) return found(provider);
  if (addresses.length === 0) return found('nowhere');
  if (addresses.some((address) => ownAddresses.includes(address))) return found('here');
  const greeting = await firstGreeting(addresses, port);
  if (greeting?.ours && greeting.name.toLowerCase() === announcedName) return found('here', greeting);
  return found(greeting === null && name === announcedName ? 'perhaps-here' : 'elsewhere', greeting);
}

/** Their hosts need not be asked: nobody runs this server there. */
function providerOf(name: string): 'microsoft-365' | 'google' | null {
  if (/\.(mail\.protection\.outlook\.com|mx\.microsoft)$/.test(name)) return 'microsoft-365';
  return /\.(google|googlemail)\.com$/.test(name) ? 'google' : null;
}

/** From inside a network port 25 of the outside is often closed: no answer says nothing. */
async function firstGreeting(addresses: readonly string[], port: number): Promise<Greeting | null> {
  const asked = addresses.slice(0, MAX_ASKED_ADDRESSES).map((host) => readGreeting({ host, port }).catch(() => null));
  return (await Promise.all(asked)).find((greeting) => greeting !== null) ?? null;
}

function addressesOfThisMachine(): readonly string[] {
  return Object.values(networkInterfaces()).flatMap((each) => (each ?? []).map(({ address }) => address));
}
