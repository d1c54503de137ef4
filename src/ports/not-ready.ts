/** Why a part cannot do its work: the words that `/readyz` shows for it, in a closed list. */
export type NotReadyCode =
  | 'jobs-not-running'
  | 'jobs-starting'
  | 'no-job-finished'
  | 'store-unmarked'
  | 'store-foreign'
  | 'store-outdated'
  | 'store-unasked';

/** A check's answer that says since when. */
export class NotReadyError extends Error {
  override readonly name = 'NotReadyError';
  readonly code: NotReadyCode;
  readonly since: Date;
  constructor(code: NotReadyCode, message: string, since: Date) {
    super(message);
    this.code = code;
    this.since = since;
  }
}
