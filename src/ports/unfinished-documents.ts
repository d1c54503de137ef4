/** Documents that the next stage has not finished, of all organisations. */

export interface DocumentToExtract {
  readonly id: string;
  readonly orgId: string;
  /** Of its message. */
  readonly traceId: string;
  readonly status: 'UPLOADED' | 'STORED' | 'PROCESSING' | 'EXTRACTED' | 'FAILED';
  /** Its bytes are in the object store. */
  readonly stored: boolean;
  /** A job for it waits in our database to be handed on, or worked on. */
  readonly waits: boolean;
}

/** Where the last page has ended; the next begins behind it. */
export interface DocumentCursor {
  readonly createdAt: string;
  readonly id: string;
}

export interface UnfinishedDocuments {
  /**
   * STORED or PROCESSING, and recorded before that moment, the oldest first. Costs a page, however many there are.
   * Shape: `next` is null when there are no more.
   */
  page(o: {
    readonly before: Date;
    readonly after: DocumentCursor | null;
    readonly limit: number;
  }): Promise<{ readonly documents: readonly DocumentToExtract[]; readonly next: DocumentCursor | null }>;
  /** In whatever status. */
  find(id: string): Promise<DocumentToExtract | null>;
  /** How many of these are STORED still. */
  countStored(ids: readonly string[]): Promise<number>;
}
