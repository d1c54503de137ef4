/** Puts messages that are FAILED back to be read again. Decided beyond the specification, which calls FAILED final. */

export interface RetryRequest {
  /** This one; undefined: all that are FAILED. */
  readonly id?: string | undefined;
  /** Only those of this organisation. */
  readonly orgId?: string | undefined;
  /** Only those that failed for this reason: a `DocumentErrorCode`. */
  readonly reason?: string | undefined;
  /** Who asks, for the audit log. */
  readonly actor: string;
}

export interface MessageRetries {
  /**
   * In one transaction: FAILED → RECEIVED without its error, a job to read it, and an entry in the audit log for each
   * organisation. What somebody else puts back at the same time is theirs.
   * Shape: ids of those that were put back. Errors: rejects when the database cannot; then nothing was done.
   */
  retry(request: RetryRequest): Promise<readonly string[]>;
}
