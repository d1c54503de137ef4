/** Jobs of the next stage that wait in our database to be handed on. */

export interface WaitingJob {
  readonly id: string;
  readonly payload: unknown;
}

/** A job that can never be handed on stays in the database, out of the way, with the reason. */
export interface RefusedJob {
  readonly id: string;
  readonly reason: string;
}

export interface JobOutbox {
  /**
   * Takes up to `limit` waiting jobs of a task, the oldest first, and holds them while `deliver` works, so that nobody else
   * takes them. Shape: how many were taken.
   * They are gone once `deliver` has resolved and that is committed. When it rejects, the database goes away, or this
   * process dies at whatever moment, they wait as if never touched: a job may be delivered twice, never not at all.
   * Errors: those of `deliver`, and of the database.
   */
  handOver(o: {
    readonly task: string;
    readonly limit: number;
    readonly deliver: (jobs: readonly WaitingJob[]) => Promise<readonly RefusedJob[]>;
  }): Promise<number>;
}
