/** How much a client may get wrong, or waste, until a mail of its is accepted. Spec: RFC 5321 §7.8 */
import type { SmtpLimits } from './limits.ts';

export type Charge = 'error' | 'refusal' | 'junk' | 'excess-recipient' | 'small-chunk' | 'overlong-line';

export class ErrorBudget {
  private readonly limits: SmtpLimits;
  private errors = 0;
  private refusals = 0;
  private junkCommands = 0;
  private excessRecipients = 0;
  private smallChunks = 0;
  private overlongLines = 0;

  constructor(limits: SmtpLimits) {
    this.limits = limits;
  }

  /** Returns false when this one is too many. */
  charge(kind: Charge): boolean {
    switch (kind) {
      case 'error':
        return ++this.errors < this.limits.maxErrors;
      case 'refusal':
        return ++this.refusals < this.limits.maxRefusals;
      case 'junk':
        return ++this.junkCommands <= this.limits.maxJunkCommands;
      case 'excess-recipient':
        return ++this.excessRecipients <= this.limits.maxExcessRecipients;
      case 'small-chunk':
        return ++this.smallChunks <= this.limits.maxSmallChunks;
      case 'overlong-line':
        return ++this.overlongLines < this.limits.maxOverlongLines;
    }
  }

  /** An accepted mail pays for the session, overlong lines excepted: those are never an honest client's. */
  refill(): void {
    this.errors = 0;
    this.refusals = 0;
    this.junkCommands = 0;
    this.excessRecipients = 0;
    this.smallChunks = 0;
  }
}
