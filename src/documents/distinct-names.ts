/**
 * Gives the documents of one mail names that differ, so that saving all of them into one folder loses none.
 * See "Names of documents" in docs/mime.md.
 */
import { comparePartPaths } from '../ports/part-path.ts';
import { firstBytes, MAX_FILE_NAME_BYTES, splitExtension } from './clean-name.ts';

/**
 * Kept free for ` (n)`. A number rises by one for each document and each name it meets, and the engine's `maxParts`
 * is 10,000, so ` (20000)` with its 8 bytes is the longest.
 */
const MAX_SUFFIX_BYTES = 10;

export interface NamedDocument {
  readonly partPath: string;
  /** As `documentFileName` gives it. */
  readonly fileName: string;
}

/**
 * File names by part path. In part order the first document keeps its name, the others of that name get ` (2)`, ` (3)`
 * before the extension; a name that some document was sent with is not made up for another. The result depends only on
 * the paths and names, not on the order they are given in.
 */
export function distinctFileNames(documents: readonly NamedDocument[]): ReadonlyMap<string, string> {
  const ordered = [...documents].sort((a, b) => comparePartPaths(a.partPath, b.partPath));
  const taken = new Set(ordered.map(({ fileName }) => comparedName(fileName)));
  const first = new Set<string>();
  const number = createNumbering(taken);
  return new Map(
    ordered.map(({ partPath, fileName }) => {
      const compared = comparedName(fileName);
      if (first.has(compared)) return [partPath, number(fileName)];
      first.add(compared);
      return [partPath, fileName];
    }),
  );
}

/** Numbers are counted on for each stem and extension, so that 10,000 equal names need 10,000 steps. */
function createNumbering(taken: Set<string>): (fileName: string) => string {
  const last = new Map<string, number>();
  return (fileName) => {
    const { stem: wholeStem, extension } = splitExtension(fileName);
    const stem = firstBytes(wholeStem, MAX_FILE_NAME_BYTES - MAX_SUFFIX_BYTES - Buffer.byteLength(extension)).trimEnd();
    const counted = comparedName(`${stem}/${extension}`); // no name has a slash
    let n = last.get(counted) ?? 1;
    let name: string;
    do {
      n++;
      name = `${stem} (${n})${extension}`;
    } while (taken.has(comparedName(name)));
    last.set(counted, n);
    taken.add(comparedName(name));
    return name;
  };
}

/**
 * Equal for names that a file system takes for the same, or a person for equal: case does not count (`ß` is `SS`, as in
 * Unicode's full case folding), nor do joiners and variation selectors, which cannot be seen.
 */
function comparedName(name: string): string {
  return name
    .replace(/\u200c|\u200d|[\ufe00-\ufe0f]/g, '')
    .normalize('NFC')
    .toLowerCase()
    .toUpperCase()
    .normalize('NFC');
}
