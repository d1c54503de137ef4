/** What `doctor` says of one thing it looked at. */
export interface Finding {
  /** One word for the thing: `database`, `disk`. Several findings may be about the same one. */
  readonly check: string;
  /** `warning`: it works, and something will hurt one day. `broken`: mail is not taken, not kept or not read like this. */
  readonly state: 'ok' | 'warning' | 'broken';
  /** One sentence for the operator, without a secret. */
  readonly found: string;
  /** What to do about it; null when nothing is to be done. */
  readonly mend: string | null;
}

export const ok = (check: string, found: string): Finding => ({ check, state: 'ok', found, mend: null });

export const warning = (check: string, found: string, mend: string): Finding => ({
  check,
  state: 'warning',
  found,
  mend,
});

export const broken = (check: string, found: string, mend: string): Finding => ({
  check,
  state: 'broken',
  found,
  mend,
});
