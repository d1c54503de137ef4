/** The questions that a sender asks DNS before it delivers, bounded in time. */
import { promises as dns } from 'node:dns';

export interface MxRecord {
  /** Empty for the null MX. Spec: RFC 7505 §3 */
  readonly exchange: string;
  readonly priority: number;
}

/** Names are looked up in DNS alone, as senders do: a hosts file of this machine says nothing to them. */
export interface MailDns {
  /** Lowest preference value first; empty when there is no record, or no such domain. Errors: `DnsAwayError`. */
  mxOf(domain: string): Promise<readonly MxRecord[]>;
  /** IPv4 and IPv6, through aliases; empty when there is none. Errors: `DnsAwayError`. */
  addressesOf(name: string): Promise<readonly string[]>;
  /** What the name is an alias of (CNAME); null when it is none. Errors: `DnsAwayError`. */
  aliasOf(name: string): Promise<string | null>;
}

/** Nobody answered: what is asked for may be there or not. `code` is that of `node:dns`. */
export class DnsAwayError extends Error {
  override readonly name = 'DnsAwayError';
  readonly code: string;

  constructor(code: string) {
    super(`DNS does not answer (${code})`);
    this.code = code;
  }
}

/** Answers, and final ones: there is no such name, or it has no such record. */
const NOTHING_THERE: ReadonlySet<string> = new Set(['ENOTFOUND', 'ENODATA']);

const QUESTION_TIMEOUT_MS = 1_000;
const QUESTION_TRIES = 2;
/** Of all questions together: what is not answered by then is given up. */
const DEADLINE_MS = 4_000;

/**
 * `servers`: addresses, with `:port` where it is not 53; null asks those of this machine.
 * Owns: its deadline runs from the first question on, and holds no process.
 */
export function createMailDns({ servers }: { readonly servers: readonly string[] | null }): MailDns {
  const resolver = new dns.Resolver({ timeout: QUESTION_TIMEOUT_MS, tries: QUESTION_TRIES });
  if (servers !== null) resolver.setServers(servers);
  let time: 'not asked yet' | 'running' | 'over' = 'not asked yet';

  function begin(): void {
    time = 'running';
    const end = (): void => {
      time = 'over';
      resolver.cancel();
    };
    setTimeout(end, DEADLINE_MS).unref();
  }

  async function ask<T>(question: () => Promise<T>, nothing: T): Promise<T> {
    if (time === 'not asked yet') begin();
    if (time === 'over') throw new DnsAwayError('ETIMEOUT');
    try {
      return await question();
    } catch (error) {
      const code = (error as NodeJS.ErrnoException).code ?? String(error);
      if (NOTHING_THERE.has(code)) return nothing;
      throw new DnsAwayError(code === 'ECANCELLED' ? 'ETIMEOUT' : code);
    }
  }

  return {
    async mxOf(domain) {
      const records = await ask(() => resolver.resolveMx(domain), []);
      return records.toSorted((a, b) => a.priority - b.priority);
    },
    async addressesOf(name) {
      const [four, six] = await Promise.all([
        ask(() => resolver.resolve4(name), []),
        ask(() => resolver.resolve6(name), []),
      ]);
      return [...four, ...six];
    },
    async aliasOf(name) {
      const [target = null] = await ask(() => resolver.resolveCname(name), []);
      return target;
    },
  };
}
