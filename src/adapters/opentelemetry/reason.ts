/** Why spans were not taken, in a word or two. Not what the receiver answered: that may be a page. */
export function reasonOf(error: unknown): string {
  const { code, message } = Object(error) as { code?: unknown; message?: unknown };
  if (typeof code === 'number') return `HTTP ${code}`;
  return typeof code === 'string' ? code : String(message ?? 'it did not answer');
}
