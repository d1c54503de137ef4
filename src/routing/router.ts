import {
  type BlockedSenders,
  type Organisation,
  type OrganisationDirectory,
  unquotedLocalPart,
} from '../ports/organisations.ts';
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

/** A reverse-path or an address of From, taken apart. */
export interface Sender {
  readonly address: string;
  /** With A-labels, without a dot at the end. */
  readonly domain: string;
}

/**
 * Judges an envelope. The header has no say in where a mail goes; its From may only keep it out.
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

  /** Which of these organisations block one of the senders, by a block of theirs or by one for everyone. */
  blockingOrganisations(
    senders: readonly Sender[],
    orgIds: readonly string[],
    signal: AbortSignal,
  ): Promise<ReadonlySet<string>>;
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

  /** Asked once, at MAIL; RCPT, and a From of the same address, find the answer remembered. */
  function blockedBy(sender: Sender, signal: AbortSignal): Promise<ReadonlySet<string | null>> {
    const address = patternOf(sender);
    return bySender.get(address, (shared) => blockedSenders.blockedBy(address, shared), signal);
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
      return (await blockedBy(sender, signal)).has(orgId) ? 'sender-blocked' : null;
    },

    async blockingOrganisations(senders, orgIds, signal) {
      const blocks = await Promise.all(senders.map((sender) => blockedBy(sender, signal)));
      return new Set(orgIds.filter((orgId) => blocks.some((ids) => ids.has(null) || ids.has(orgId))));
    },
  };
}

/** Longer ones (RFC 5321 §4.5.3.1: 64 and 255 octets, and both may be quoted or in UTF-8) are in no pattern. */
const MAX_LOCAL_PART_CHARACTERS = 256;
const MAX_DOMAIN_CHARACTERS = 255;

/**
 * The address as block patterns have it; as it was sent, another spelling would get past them. Of one that is too long for a
 * pattern the end of its domain, which a block of that domain and all below it covers.
 */
function patternOf({ address, domain }: Sender): string {
  const localPart = unquotedLocalPart(address.slice(0, Math.max(0, address.lastIndexOf('@'))).toLowerCase());
  const named = localPart.length <= MAX_LOCAL_PART_CHARACTERS && domain.length <= MAX_DOMAIN_CHARACTERS;
  return `${named ? localPart : ''}@${domain.slice(-MAX_DOMAIN_CHARACTERS).toLowerCase()}`;
}
