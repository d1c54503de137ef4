/**
 * Mails of a folder, each with what a careful person reads in it.
 *
 * The expectations of a folder are one JSON file. Only the keys that a mail gives are compared; `documents` and `notes` it
 * always gives. A mail belongs to the kind that its file name begins with.
 */
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

export interface ExpectedMail {
  /** What is special about it, where its name does not say it. */
  readonly about?: string;
  readonly status?: 'PARSED' | 'FAILED';
  /** `error_json.code` of a FAILED message. */
  readonly error?: string | null;
  readonly subject?: string | null;
  /** `from_email` of a mail with the null reverse-path. */
  readonly from?: string | null;
  readonly senders?: readonly { readonly name: string | null; readonly address: string }[];
  /** Shape: `2026-11-03T09:11:12Z`. */
  readonly date?: string | null;
  readonly documents: readonly ExpectedDocument[];
  readonly left_out?: readonly { readonly part: string; readonly reason: string }[];
  /** Shape: `code@part`, the part `-` for the mail itself. */
  readonly notes: readonly string[];
  /** Parts of the documents whose own row says that their bytes may not be right. */
  readonly marked?: readonly string[];
}

/** Its bytes are given in one of three ways. */
export type ExpectedDocument = { readonly part: string; readonly name: string; readonly type: string } & (
  | { readonly size: number; readonly sha256: string }
  | { readonly text: string }
  | { readonly file: string }
);

export interface FileDigest {
  readonly size: number;
  readonly sha256: string;
}

interface Expectations {
  readonly kinds: Readonly<Record<string, string>>;
  /** Files that many of the mails carry, by the name that documents give as `file`. */
  readonly files: Readonly<Record<string, FileDigest>>;
  readonly mails: Readonly<Record<string, ExpectedMail>>;
}

export interface FieldMail {
  readonly name: string;
  readonly bytes: Buffer;
  readonly expected: ExpectedMail;
}

export interface FieldFolder {
  readonly files: Expectations['files'];
  readonly kinds: readonly { readonly title: string; readonly mails: readonly FieldMail[] }[];
}

/** Errors: throws when folder and expectations do not fit together, or when there is nothing to compare. */
export function readFieldFolder(folder: string, expectationFile: string): FieldFolder {
  const expectations = JSON.parse(readFileSync(expectationFile, 'utf8')) as Expectations;
  const names = readdirSync(folder).filter((name) => name.endsWith('.eml'));
  const problems = problemsOf(expectations, names);
  if (problems.length > 0) throw new Error(`${folder} and ${expectationFile}:\n${problems.join('\n')}`);
  const mails = names.sort().map((name) => ({
    name,
    bytes: readFileSync(join(folder, name)),
    expected: expectations.mails[name] as ExpectedMail,
  }));
  const kinds = Object.entries(expectations.kinds).sort(([a], [b]) => (a < b ? -1 : 1));
  return {
    files: expectations.files,
    kinds: kinds.map(([number, title]) => ({
      title: `${number} ${title}`,
      mails: mails.filter(({ name }) => kindOf(name) === number),
    })),
  };
}

export function digestOf(bytes: Uint8Array): FileDigest {
  return { size: bytes.length, sha256: createHash('sha256').update(bytes).digest('hex') };
}

export function expectedDigest(document: ExpectedDocument, files: Expectations['files']): FileDigest {
  if ('text' in document) return digestOf(Buffer.from(document.text));
  if ('size' in document) return { size: document.size, sha256: document.sha256 };
  const file = files[document.file];
  if (file === undefined) throw new Error(`no file "${document.file}" in the expectations`);
  return file;
}

const kindOf = (name: string): string => /^\d+/.exec(name)?.[0] ?? '';

function problemsOf({ kinds, mails }: Expectations, names: readonly string[]): readonly string[] {
  const present = new Set(names);
  const usedKinds = new Set(names.map(kindOf));
  return [
    ...(names.length === 0 ? ['no mails'] : []),
    ...names.filter((name) => mails[name] === undefined).map((name) => `${name} has no expectation`),
    ...names.filter((name) => kinds[kindOf(name)] === undefined).map((name) => `${name} is of no kind`),
    ...Object.keys(mails).flatMap((name) => (present.has(name) ? [] : [`${name} is not there`])),
    ...Object.keys(kinds).flatMap((kind) => (usedKinds.has(kind) ? [] : [`kind ${kind} has no mail`])),
    ...Object.entries(mails).flatMap(([name, { documents, notes }]) =>
      Array.isArray(documents) && Array.isArray(notes) ? [] : [`${name} does not give documents and notes`],
    ),
  ];
}
