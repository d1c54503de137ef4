/** Which acknowledged messages nobody has begun to read, across organisations: ids only, nothing of their content. */

export interface WaitingMessage {
  readonly inboundMessageId: string;
  readonly orgId: string;
  readonly traceId: string;
}

export interface WaitingMessages {
  /**
   * One message of the next organisation that has any, in the order of ids, the first behind `after` and then from the
   * beginning; none of those in `except`. null: there is none. Errors: rejects when the database cannot be asked.
   */
  next(o: { readonly after: string; readonly except: readonly string[] }): Promise<WaitingMessage | null>;
}
