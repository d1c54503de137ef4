/** Runs tasks from the queue that lives in the database beside the rows they are about. */

export interface JobContext {
  /** From 1. */
  readonly attempt: number;
  /** No retry follows this attempt: what fails now has to be written down as FAILED. */
  readonly lastAttempt: boolean;
  /** Aborts when the process stops and will wait no longer; the job is then tried again elsewhere. */
  readonly signal: AbortSignal;
}

/** Errors: a rejected promise means "try again later", with growing delays. */
export type Task = (payload: unknown, context: JobContext) => Promise<void>;

export interface JobRunner {
  /** Resolves when jobs are being taken. */
  start(): Promise<void>;
  /** Takes no further job, waits for those under way up to `graceMs`, then aborts them; they are tried again. */
  stop(graceMs: number): Promise<void>;
  /** Resolves when jobs can be taken; rejects saying in words why not. */
  check(): Promise<void>;
}
