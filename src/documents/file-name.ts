/**
 * The name a document is shown under. It is for people only: no path, key or command is ever made of it.
 * See docs/mime.md for the rule with examples.
 */
import { mediaTypeExtension } from './media-type.ts';

/** What file systems take for a name. */
const MAX_FILE_NAME_BYTES = 255;
/** Of which an extension may keep this much; a longer one is no extension. */
const MAX_EXTENSION_BYTES = 32;

/** Controls (C0, DEL, C1), the bidirectional marks, embeddings, overrides and isolates, and the BOM: invisible, and able to show `exe.pdf` for `fdp.exe`. */
const INVISIBLE = /[\u0000-\u001f\u007f-\u009f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060\u2066-\u2069\ufeff]/g;

/** Names that Windows gives to devices, with or without an extension. */
const RESERVED_ON_WINDOWS = /^(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?$/i;

/** The last path segment of the name as sent, cleaned; `attachment-{partPath}{extension by type}` when nothing is left. */
export function documentFileName(sent: string | null, partPath: string, mimeType: string): string {
  const cleaned = sent === null ? '' : clean(sent);
  return cleaned === '' ? `attachment-${partPath}${mediaTypeExtension(mimeType)}` : cleaned;
}

function clean(sent: string): string {
  const visible = sent.toWellFormed().normalize('NFC').replace(INVISIBLE, '');
  const segment = visible.slice(Math.max(visible.lastIndexOf('/'), visible.lastIndexOf('\\')) + 1).trim();
  if (/^\.*$/.test(segment)) return '';
  const name = RESERVED_ON_WINDOWS.test(segment) ? `_${segment}` : segment;
  return cut(name);
}

/** At most 255 bytes, whole characters, the extension kept. */
function cut(name: string): string {
  if (Buffer.byteLength(name) <= MAX_FILE_NAME_BYTES) return name;
  const dot = name.lastIndexOf('.');
  const extension = dot > 0 && Buffer.byteLength(name.slice(dot)) <= MAX_EXTENSION_BYTES ? name.slice(dot) : '';
  const stem = name.slice(0, name.length - extension.length);
  return firstBytes(stem, MAX_FILE_NAME_BYTES - Buffer.byteLength(extension)) + extension;
}

function firstBytes(text: string, maxBytes: number): string {
  // encodeInto stops before a character that does not fit whole; `read` counts UTF-16 units.
  const { read } = new TextEncoder().encodeInto(text, new Uint8Array(maxBytes));
  return text.slice(0, read);
}
