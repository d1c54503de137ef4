/** The organisations we take mail for, and whom they do not want mail from. */

export interface Organisation {
  readonly id: string;
  readonly slug: string;
  readonly name: string;
  /** A disabled organisation's addresses answer `550 5.2.1`. Kept in `settings_json.disabled`. */
  readonly disabled: boolean;
}

/** Errors: rejects when the directory cannot be asked; that is never "unknown". */
export interface OrganisationDirectory {
  /** `slug` is lower case. */
  findBySlug(slug: string, signal?: AbortSignal): Promise<Organisation | null>;
}

export interface OrganisationRegister extends OrganisationDirectory {
  /** Errors: `slug-taken`, `slug-invalid`. */
  add(slug: string, name: string): Promise<Organisation | { readonly problem: 'slug-taken' | 'slug-invalid' }>;
  list(): Promise<readonly Organisation[]>;
}

/**
 * A pattern is a lower-case address `a@b`, a whole domain `@b`, or a domain and all below it `@.b`; U-labels of the domain
 * are written as A-labels, and a local part that needs no quotes has none.
 * `orgId` null blocks for every organisation.
 */
export interface BlockedSender {
  readonly orgId: string | null;
  readonly orgSlug: string | null;
  readonly pattern: string;
  readonly createdAt: Date;
}

/** `"spam"` is the mailbox `spam` (RFC 5321 §4.1.2). `localPart` is lower case. */
export function unquotedLocalPart(localPart: string): string {
  const quoted = /^"(.*)"$/s.exec(localPart)?.[1]?.replace(/\\(.)/gs, '$1');
  return quoted !== undefined && /^[^\s"(),:;<>@[\]\\]+$/.test(quoted) ? quoted : localPart;
}

/** Errors: rejects when the list cannot be asked. */
export interface BlockedSenders {
  /** Ids of the organisations that block this sender (an address as a pattern has it); null among them blocks for everyone. */
  blockedBy(address: string, signal?: AbortSignal): Promise<ReadonlySet<string | null>>;
}

export interface BlockList extends BlockedSenders {
  /** false when it was there already. */
  block(pattern: string, orgId: string | null): Promise<boolean>;
  /** false when there was none. */
  unblock(pattern: string, orgId: string | null): Promise<boolean>;
  listBlocked(): Promise<readonly BlockedSender[]>;
}
