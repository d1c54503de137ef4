/** Where jobs for the next stage are published: a queue outside our database. */

export interface JobToPublish {
  /** The same job always has the same id: that is what keeps it from being there twice. */
  readonly id: string;
  readonly payload: Readonly<Record<string, unknown>>;
}

export interface JobPublisher {
  /** Resolves when jobs can be published, however long that takes. Errors: the signal's reason. */
  ready(signal: AbortSignal): Promise<void>;
  /**
   * Resolves when the queue has acknowledged every one. A job whose id it knows already is not added again, whether it
   * waits, is worked on, has failed, or was done a while ago.
   * Errors: `PublishError` when any of them may not have arrived; then all may be published again.
   */
  publish(jobs: readonly JobToPublish[]): Promise<void>;
  /** Ends what is under way with an error. */
  close(): void;
}

/** The operator has been told why; jobs stay where they are. */
export class PublishError extends Error {
  override readonly name = 'PublishError';
}
