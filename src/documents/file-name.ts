/**
 * The name a document is shown under. It is for people only: no path, key or command is ever made of it.
 * See docs/mime.md for the rule with examples.
 */
import { cleanFileName } from './clean-name.ts';
import { mediaTypeExtension } from './media-type.ts';

/** The name as sent, cleaned, of a path the last segment; `attachment-{partPath}{extension by type}` when nothing is left. */
export function documentFileName(sent: string | null, partPath: string, mimeType: string): string {
  const cleaned = sent === null ? '' : cleanFileName(sent);
  return cleaned === '' ? `attachment-${partPath}${mediaTypeExtension(mimeType)}` : cleaned;
}
