/** The bounds of the engine. Each is far above what mail software writes and far below what hurts. */
import { MimeError } from './errors.ts';
import type { MimeLimits } from './types.ts';

export const defaultMimeLimits: MimeLimits = {
  // A mail to 2,000 recipients with long names carries about 150 KB of To; one block is held in memory, twice as text.
  maxHeaderBlockBytes: 1024 * 1024,
  maxHeaderFieldBytes: 256 * 1024,
  // A mail that went through fifty relays with signatures has about 400 fields.
  maxHeaderFields: 5_000,
  // The largest real mail at hand has 329 attachments.
  maxParts: 10_000,
  maxDepth: 100,
  // A 25 MB mail nested so deep is shown as at most 20 × 25 MB of parts.
  maxMessageDepth: 20,
  maxParameters: 1_000,
  maxBoundaryBytes: 8 * 1024,
};

/** Errors: `invalid-limit` when a bound is no positive whole number. */
export function resolveLimits(overrides?: Partial<MimeLimits>): MimeLimits {
  if (overrides === undefined) return defaultMimeLimits;
  const limits = { ...defaultMimeLimits, ...overrides };
  for (const [name, value] of Object.entries(limits)) {
    if (!Number.isSafeInteger(value) || value < 1) throw new MimeError('invalid-limit', `${name} must be 1 or more`);
  }
  return limits;
}
