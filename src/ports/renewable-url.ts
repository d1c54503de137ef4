/** A connection string whose login may be replaced while we run, as by whoever rotates passwords. */
export interface RenewableUrl {
  /** With the login that was good last. */
  readonly current: string;
  /**
   * Runs the work; once more when it is refused for its login and there is another login by now.
   * Errors: those of the work.
   */
  connecting<T>(work: (url: string) => Promise<T>): Promise<T>;
}

/** A text alone is one that stays. */
export type ConnectionUrl = string | RenewableUrl;

export const renewable = (url: ConnectionUrl): RenewableUrl =>
  typeof url === 'string' ? { current: url, connecting: (work) => work(url) } : url;
