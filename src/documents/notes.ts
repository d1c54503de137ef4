/** From the defects that the part engine reports to the notes on a message: what a person should know of it. */
import { type Defect, type DefectCode, isNoted, type MailEvent } from '../mime/index.ts';
import type { Note } from '../ports/extraction-store.ts';
import { comparePartPaths } from '../ports/part-path.ts';

/** `more` is the last note of a message that has too many: it has their number. */
export type NoteCode = DefectCode | 'more';

export interface CodedNote extends Note {
  readonly code: NoteCode;
}

/** Enough to see what is wrong with a mail, and a row of some kilobytes whatever the sender did. */
export const MAX_NOTES = 50;
/** A name is for recognising the file; the row of the document has it whole. */
const MAX_NAME_CHARACTERS = 200;

export interface NoteCollector {
  observe(event: MailEvent): void;
  /** In the order of the parts, those of the mail itself first. `fileNameOf`: null for what has no name. */
  notes(fileNameOf: (part: string) => string | null): readonly CodedNote[];
}

interface Found {
  readonly code: DefectCode;
  readonly part: string | null;
  readonly meaning: string;
}

export function createNoteCollector(): NoteCollector {
  const found: Found[] = [];
  // By part and code: bounded by the engine's limit of parts.
  const known = new Map<string | null, Set<DefectCode>>();

  let rootIsMultipart = false;

  const add = (part: string | null, defects: readonly Defect[]): void => {
    for (const { code, message } of notedOf(defects)) {
      const codes = known.get(part) ?? new Set();
      if (codes.has(code) || (isRoot(part) && known.get(null)?.has(code))) continue;
      known.set(part, codes.add(code));
      found.push({ code, part, meaning: message });
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
    notes(fileNameOf) {
      const ordered = found.toSorted(inOrder);
      const shown = ordered.length <= MAX_NOTES ? ordered : ordered.slice(0, MAX_NOTES - 1);
      const notes = shown.map((one) => noteOf(one, one.part === null ? null : fileNameOf(one.part)));
      return shown.length === ordered.length ? notes : [...notes, more(ordered.length - shown.length)];
    },
  };
}

/** The defects that become notes. */
export const notedOf = (defects: readonly Defect[]): readonly Defect[] => defects.filter(({ code }) => isNoted(code));

function noteOf({ code, part, meaning }: Found, fileName: string | null): CodedNote {
  return { code, part, text: fileName === null ? meaning : `${shortName(fileName)}: ${meaning}` };
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
  const characters = [...fileName.slice(0, 2 * MAX_NAME_CHARACTERS).replace(/\p{Cc}/gu, ' ')];
  if (characters.length <= MAX_NAME_CHARACTERS && fileName.length <= 2 * MAX_NAME_CHARACTERS)
    return characters.join('');
  return `${characters.slice(0, MAX_NAME_CHARACTERS - 1).join('')}…`;
}
