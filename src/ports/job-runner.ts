/** Runs tasks from the queue that lives in the database beside the rows they are about. */

/** How the message of an error begins that says nothing of the job: where it was its last attempt, it gets another. */
export const UNCOUNTED = 'not now: ';

export interface JobContext {
  /** From 1. */
  readonly attempt: number;
  /** No retry follows this attempt. */
  readonly lastAttempt: boolean;
  /** Aborts when the process stops and will wait no longer, or the job takes too long; it is then tried again. */
  readonly signal: AbortSignal;
}

export interface Task {
  /** Errors: a rejected promise means "try again later", with growing delays. */
  run(payload: unknown, context: JobContext): Promise<void>;

  /**
   * No attempt is left: the last one failed, or its worker died in it. Writes down that it is over; the job is then
   * forgotten. May be called more than once. Errors: a rejected promise means "ask again in a moment".
   */
  giveUp(payload: unknown): Promise<void>;
}

export interface JobRunner {
  /** Resolves when jobs are being taken. */
  start(): Promise<void>;
  /** Takes no further job, waits for those under way up to `graceMs`, then aborts them; they are tried again. */
  stop(graceMs: number): Promise<void>;
  /** Takes no further job, and gives none up, until it is called with null; those under way may end. `check` rejects with it. */
  hold(reason: Error | null): void;
  /** Resolves when jobs can be taken; rejects saying in words why not. */
  check(): Promise<void>;
}
