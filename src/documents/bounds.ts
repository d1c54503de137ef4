/**
 * How much of one mail becomes rows, objects and text, whatever it holds. What is read of each field is bounded before, by
 * the engine (mime/bounds.ts).
 */

/**
 * Documents of a mail: each is an object that is synced, a row and a job (some 0.5 ms together), so that the heaviest mail
 * takes a slot of the worker for a quarter of a second of work, not for 16 s as 40,000 tiny attachments did. The largest
 * real mail at hand has 329 attachments.
 */
export const MAX_DOCUMENTS = 500;

/** Enough to see what is wrong with a mail, and a row of some kilobytes whatever the sender did. */
export const MAX_NOTES = 50;

/** In a note, a name is for recognising the file; the row of the document has it whole. */
export const MAX_NOTED_NAME_CHARACTERS = 200;

/**
 * File names in `parts_json`. The engine's 10,000 parts, each with a name as long as file systems take, were 10,000 × 255 × 3
 * bytes = 7.6 MB of JSON, made and sent in one step. So the first thousand have their names in full, and the rest as much as
 * tells files apart: 1,000 × 255 × 3 + 9,000 × 40 × 3 bytes = 1.8 MB, beside 10,000 × 150 bytes of the rest.
 */
const MAX_LISTED_NAME_CHARACTERS = 255;
const PARTS_LISTED_IN_FULL = 1_000;
const MAX_FURTHER_NAME_CHARACTERS = 40;

/** `listed`: how many parts are listed before this one. A name that is cut ends with `…`. */
export function listedName(name: string | null, listed: number): string | null {
  const most = listed < PARTS_LISTED_IN_FULL ? MAX_LISTED_NAME_CHARACTERS : MAX_FURTHER_NAME_CHARACTERS;
  return name === null || name.length <= most ? name : `${name.slice(0, most - 1).toWellFormed()}…`;
}
