/** From the defects that the part engine reports to the notes on a message: what a person should know of it. */
import { type Defect, type DefectCode, isNoted, type MailEvent } from '../mime/index.ts';
import type { Note } from '../ports/extraction-store.ts';
import { comparePartPaths } from '../ports/part-path.ts';
import { MAX_DOCUMENTS, MAX_NOTED_NAME_CHARACTERS, MAX_NOTES } from './bounds.ts';

/**
 * `document-limit`: files beyond MAX_DOCUMENTS were not stored. `more` is the last note of a message that has too many. Both
 * have a number.
 */
export type NoteCode = DefectCode | 'document-limit' | 'more';

export interface CodedNote extends Note {
  readonly code: NoteCode;
}

export interface NoteCollector {
  observe(event: MailEvent): void;
  /**
   * In the order of the parts, those of the mail itself first. `fileNameOf`: null for what has no name; `unstored`: how many
   * files were beyond the limit of documents.
   */
  notes(fileNameOf: (part: string) => string | null, unstored: number): readonly CodedNote[];
}

interface Found {
  readonly code: DefectCode;
  readonly part: string | null;
  readonly meaning: string;
}

export function createNoteCollector(): NoteCollector {
  /** The first of them, as many as may be told. */
  let found: Found[] = [];
  let count = 0;
  // By part and code: bounded by the engine's limit of parts.
  const known = new Map<string | null, Set<DefectCode>>();

  let rootIsMultipart = false;

  const add = (part: string | null, defects: readonly Defect[]): void => {
    for (const { code, message } of notedOf(defects)) {
      const codes = known.get(part) ?? new Set();
      if (codes.has(code) || (isRoot(part) && known.get(null)?.has(code))) continue;
      known.set(part, codes.add(code));
      found.push({ code, part, meaning: message });
      count++;
      if (found.length > 2 * MAX_NOTES) found = found.sort(inOrder).slice(0, MAX_NOTES);
    }
  };

  /** The only part of a mail has the mail's own header: what is odd about that is said of the mail already. */
  const isRoot = (part: string | null): boolean => part === '1' && !rootIsMultipart;

  return {
    observe(event) {
      if (event.type === 'header') add(null, event.header.defects);
      else if (event.type === 'multipart-begin') rootIsMultipart ||= event.path === '';
      else if (event.type === 'multipart-end') add(event.path === '' ? null : event.path, event.defects);
      else if (event.type === 'part-end') add(event.path, event.defects);
    },
    notes(fileNameOf, unstored) {
      const limit = unstored === 0 ? [] : [documentLimit(unstored)];
      const most = MAX_NOTES - limit.length;
      const shown = found.sort(inOrder).slice(0, count <= most ? most : most - 1);
      const notes = shown.map((one) => noteOf(one, one.part === null ? null : fileNameOf(one.part)));
      return [...limit, ...notes, ...(shown.length === count ? [] : [more(count - shown.length)])];
    },
  };
}

/** The defects that become notes. */
export const notedOf = (defects: readonly Defect[]): readonly Defect[] => defects.filter(({ code }) => isNoted(code));

function noteOf({ code, part, meaning }: Found, fileName: string | null): CodedNote {
  return { code, part, text: fileName === null ? meaning : `${shortName(fileName)}: ${meaning}` };
}

function documentLimit(count: number): CodedNote {
  const files = count === 1 ? '1 file more, which was not stored' : `${count} files more, which were not stored`;
  return {
    code: 'document-limit',
    part: null,
    text: `the mail has ${MAX_DOCUMENTS} documents and ${files}`,
    detail: { count },
  };
}

function more(count: number): CodedNote {
  const text = count === 1 ? '1 more note, not listed' : `${count} more notes, not listed`;
  return { code: 'more', part: null, text, detail: { count } };
}

function inOrder(a: Found, b: Found): number {
  if (a.part === b.part) return a.code < b.code ? -1 : 1;
  if (a.part === null || b.part === null) return a.part === null ? -1 : 1;
  return comparePartPaths(a.part, b.part);
}

/** On one line, and short; whole characters. */
function shortName(fileName: string): string {
  const characters = [...fileName.slice(0, 2 * MAX_NOTED_NAME_CHARACTERS).replace(/\p{Cc}/gu, ' ')];
  if (characters.length <= MAX_NOTED_NAME_CHARACTERS && fileName.length <= 2 * MAX_NOTED_NAME_CHARACTERS)
    return characters.join('');
  return `${characters.slice(0, MAX_NOTED_NAME_CHARACTERS - 1).join('')}…`;
}
