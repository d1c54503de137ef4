import type { BlockedSenders, Organisation, OrganisationDirectory } from '../ports/organisations.ts';
import { createBriefCache } from './brief-cache.ts';
import { asciiLowerCase, slugOf } from './plus-address.ts';

/** Long enough to spare the database under load, short enough that a change by hand shows at once. */
const CACHE_MS = 3_000;

/** Spec: RFC 5321 §4.5.1 */
const POSTMASTER = 'postmaster';

/** An organisation or a sender's address is some hundred bytes: a few MB at most, whoever fills them. */
const MAX_CACHED_ORGANISATIONS = 10_000;
const MAX_CACHED_SENDERS = 10_000;

/** A forward-path taken apart. Spec: RFC 5321 §4.1.2 */
export interface Recipient {
  readonly localPart: string;
  /** With A-labels, without a dot at the end; empty only for `<Postmaster>`. */
  readonly domain: string;
}

export type Routed =
  | { readonly organisation: Organisation }
  /** `unavailable`: it is ours, and where it goes is misconfigured. */
  | { readonly verdict: 'unknown-recipient' | 'relaying-denied' | 'mailbox-disabled' | 'unavailable' };

/** A reverse-path taken apart. */
export interface Sender {
  readonly address: string;
  /** With A-labels, without a dot at the end. */
  readonly domain: string;
}

/**
 * Judges an envelope; headers have no say.
 * Errors: what the ports reject with, or the signal's reason. Never a verdict: who cannot be asked has not said no.
 */
export interface Router {
  /**
   * The organisation of `orders+{slug}` at one of our domains, in any case, or why there is none; for `postmaster`, bare
   * or at one of our domains, the one that was named for it.
   */
  route(recipient: Recipient, signal: AbortSignal): Promise<Routed>;

  /**
   * Is this reverse-path blocked for everyone (`orgId` null) or for that organisation?
   * null is the null reverse-path: a bounce has no address to block.
   */
  senderVerdict(sender: Sender | null, orgId: string | null, signal: AbortSignal): Promise<'sender-blocked' | null>;
}

export interface RouterOptions {
  /** In any case, with A-labels. */
  readonly domains: readonly string[];
  /** Slug of the organisation that mail to postmaster goes to; null: to nobody. */
  readonly postmasterOrg?: string | null;
  readonly organisations: OrganisationDirectory;
  readonly blockedSenders: BlockedSenders;
  /** How long a known organisation and the verdict on a sender are believed; 0 asks every time. */
  readonly cacheMs?: number;
  /** Units: milliseconds, from any beginning. */
  readonly clock?: () => number;
}

export function createRouter(options: RouterOptions): Router {
  const {
    organisations,
    blockedSenders,
    postmasterOrg = null,
    cacheMs = CACHE_MS,
    clock = () => performance.now(),
  } = options;
  const domains = new Set(options.domains.map(asciiLowerCase));
  const bySlug = createBriefCache<Organisation | null>({
    keepMs: cacheMs,
    maxEntries: MAX_CACHED_ORGANISATIONS,
    // A new organisation works at once.
    keep: (organisation) => organisation !== null,
    clock,
  });
  const bySender = createBriefCache<ReadonlySet<string | null>>({
    keepMs: cacheMs,
    maxEntries: MAX_CACHED_SENDERS,
    keep: () => true,
    clock,
  });

  async function organisationOf(
    slug: string,
    missing: 'unknown-recipient' | 'unavailable',
    signal: AbortSignal,
  ): Promise<Routed> {
    const organisation = await bySlug.get(slug, (shared) => organisations.findBySlug(slug, shared), signal);
    if (organisation === null) return { verdict: missing };
    return organisation.disabled ? { verdict: 'mailbox-disabled' } : { organisation };
  }

  return {
    async route({ localPart, domain }, signal) {
      if (domain !== '' && !domains.has(asciiLowerCase(domain))) return { verdict: 'relaying-denied' };
      if (asciiLowerCase(localPart) === POSTMASTER && postmasterOrg !== null) {
        // The operator's mistake, not the sender's.
        return await organisationOf(postmasterOrg, 'unavailable', signal);
      }
      const slug = domain === '' ? null : slugOf(localPart);
      return slug === null ? { verdict: 'unknown-recipient' } : await organisationOf(slug, 'unknown-recipient', signal);
    },

    async senderVerdict(sender, orgId, signal) {
      if (sender === null) return null;
      const address = patternOf(sender);
      // Asked once, at MAIL; RCPT finds the answer remembered.
      const blockedBy = await bySender.get(address, (shared) => blockedSenders.blockedBy(address, shared), signal);
      return blockedBy.has(orgId) ? 'sender-blocked' : null;
    },
  };
}

/** The address as block patterns have it; as it was sent, another spelling of the domain would get past them. */
function patternOf({ address, domain }: Sender): string {
  return `${address.slice(0, address.lastIndexOf('@') + 1)}${domain}`.toLowerCase();
}
