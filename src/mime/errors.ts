/** Wrong use of the engine by its caller. No mail, however broken, makes the engine throw. */
export type MimeErrorCode = 'invalid-limit' | 'parser-ended';

export class MimeError extends Error {
  readonly code: MimeErrorCode;

  constructor(code: MimeErrorCode, message: string) {
    super(message);
    this.name = 'MimeError';
    this.code = code;
  }
}
