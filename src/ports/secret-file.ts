/** A secret in a file of its own, as Docker, Kubernetes and systemd hand them out; some replace it while we run. */
import { readFileSync, statSync } from 'node:fs';

/** A URL or a token takes some hundred bytes; what is larger is another file. */
const MAX_BYTES = 64 * 1024;

/** The file cannot be used. The message completes "<path> …" and holds nothing of its text. */
export class SecretFileError extends Error {
  override readonly name = 'SecretFileError';
}

/**
 * Shape: one line, without the white space around it, of which a newline at the end is the most common.
 * Errors: `SecretFileError`.
 */
export function readSecretFile(path: string): string {
  const text = readText(path)
    .replace(/^\uFEFF/, '')
    .trim();
  if (text === '') throw new SecretFileError('is empty');
  if (/\p{Cc}/u.test(text)) throw new SecretFileError('holds more than one line of text');
  return text;
}

function readText(path: string): string {
  try {
    const facts = statSync(path);
    // A pipe can be read once, and whoever reads it again waits for ever.
    if (!facts.isFile()) throw new SecretFileError('is not a regular file');
    if (facts.size > MAX_BYTES) throw new SecretFileError(`has more than ${MAX_BYTES} bytes: it holds no secret`);
    return readFileSync(path, 'utf8');
  } catch (error) {
    if (error instanceof SecretFileError) throw error;
    const { code } = error as NodeJS.ErrnoException;
    throw new SecretFileError(REASONS[code ?? ''] ?? `cannot be read (${code ?? 'unknown fault'})`, { cause: error });
  }
}

const REASONS: Readonly<Record<string, string>> = {
  ENOENT: 'is not there',
  EACCES: 'may not be read by this account',
};
