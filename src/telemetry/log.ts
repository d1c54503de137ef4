import type { Logger } from 'pino';

/** One JSON line per event; see `docs/operations.md` for the fields. Never mail content, never a secret. */
export type Log = Logger;
