/** Something the operator can mend; the message is one line and says what to do, so it is shown without a stack. */
export class EmbeddedPostgresError extends Error {
  constructor(message: string, options?: ErrorOptions) {
    super(message.replace(/\s*\n\s*/g, ' | '), options);
    this.name = 'EmbeddedPostgresError';
  }
}

const REMEDIES: readonly (readonly [RegExp, string])[] = [
  [/No space left on device|Disk quota exceeded/i, 'free some disk space, or set DATA_DIR to a larger disk'],
  [/Read-only file system/i, 'set DATA_DIR to a folder on a writable disk'],
  [/invalid permissions/i, 'give the cluster folder back its mode: chmod 700'],
  [/wrong ownership/i, 'run as the user who owns the cluster folder, or chown it'],
  [/Permission denied/i, 'make DATA_DIR readable and writable for the user who runs this, or set DATA_DIR'],
  [/could not bind|could not create any TCP/i, 'free the port, or set DATABASE_URL to a PostgreSQL of your own'],
  [/shared memory|semaphore/i, 'raise the shared memory limits of this system, or set DATABASE_URL'],
  [/could not locate a valid checkpoint|invalid checkpoint/i, 'the cluster is damaged: restore DATA_DIR from a backup'],
];

/** What to do about output of PostgreSQL's own programs; null when it says nothing we know. */
export function remedyFor(output: string): string | null {
  return REMEDIES.find(([pattern]) => pattern.test(output))?.[1] ?? null;
}

/** Errors: never throws; whatever was thrown becomes its message. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

export function codeOf(error: unknown): string | undefined {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : undefined;
}
