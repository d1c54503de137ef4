import type { BlockedSenders, Organisation, OrganisationDirectory } from '../ports/organisations.ts';
import { createBriefCache } from './brief-cache.ts';
import { asciiLowerCase, slugOf } from './plus-address.ts';

/** Long enough to spare the database under load, short enough that a change by hand shows at once. */
const CACHE_MS = 3_000;

/** An organisation or a sender's address is some hundred bytes: a few MB at most, whoever fills them. */
const MAX_CACHED_ORGANISATIONS = 10_000;
const MAX_CACHED_SENDERS = 10_000;

/** A forward-path taken apart. Spec: RFC 5321 §4.1.2 */
export interface Recipient {
  readonly localPart: string;
  /** Empty only for `<Postmaster>`. */
  readonly domain: string;
}

export type Routed =
  | { readonly organisation: Organisation }
  | { readonly verdict: 'unknown-recipient' | 'relaying-denied' | 'mailbox-disabled' };

/**
 * Judges an envelope; headers have no say.
 * Errors: what the ports reject with, or the signal's reason. Never a verdict: who cannot be asked has not said no.
 */
export interface Router {
  /** The organisation of `orders+{slug}` at one of our domains, in any case, or why there is none. */
  route(recipient: Recipient, signal: AbortSignal): Promise<Routed>;

  /**
   * Is this reverse-path blocked for everyone (`orgId` null) or for that organisation?
   * null is the null reverse-path: a bounce has no address to block.
   */
  senderVerdict(address: string | null, orgId: string | null, signal: AbortSignal): Promise<'sender-blocked' | null>;
}

export interface RouterOptions {
  /** In any case. */
  readonly domains: readonly string[];
  readonly organisations: OrganisationDirectory;
  readonly blockedSenders: BlockedSenders;
  /** How long a known organisation and the verdict on a sender are believed; 0 asks every time. */
  readonly cacheMs?: number;
  /** Units: milliseconds, from any beginning. */
  readonly clock?: () => number;
}

export function createRouter(options: RouterOptions): Router {
  const { organisations, blockedSenders, cacheMs = CACHE_MS, clock = () => performance.now() } = options;
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

  return {
    async route({ localPart, domain }, signal) {
      if (domain === '') return { verdict: 'unknown-recipient' };
      if (!domains.has(asciiLowerCase(domain))) return { verdict: 'relaying-denied' };
      const slug = slugOf(localPart);
      if (slug === null) return { verdict: 'unknown-recipient' };
      const organisation = await bySlug.get(slug, (shared) => organisations.findBySlug(slug, shared), signal);
      if (organisation === null) return { verdict: 'unknown-recipient' };
      return organisation.disabled ? { verdict: 'mailbox-disabled' } : { organisation };
    },

    async senderVerdict(address, orgId, signal) {
      if (address === null) return null;
      const sender = address.toLowerCase();
      // Asked once, at MAIL; RCPT finds the answer remembered.
      const blockedBy = await bySender.get(sender, (shared) => blockedSenders.blockedBy(sender, shared), signal);
      return blockedBy.has(orgId) ? 'sender-blocked' : null;
    },
  };
}
