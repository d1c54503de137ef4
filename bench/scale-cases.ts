/** What `npm run bench:scale` varies, one thing at a time, and what it is asked for. */
import { parseArgs } from 'node:util';
import { UsageError } from './options.ts';
import { parseSize, sizeText } from './scenarios.ts';

/** One case; all but one of its values are those of the base. */
export interface Case {
  readonly senders: number;
  readonly sizeBytes: number;
  /** Finished mails in the tables before the first one comes. */
  readonly rows: number;
  /** One: all mails are for it. More: mails are for each in turn. */
  readonly organisations: number;
  /** Waiting `extract_document` jobs, which nobody consumes. */
  readonly waiting: number;
  /** Waiting `extract_attachments` jobs; for taking mail alone, since a worker would consume them. */
  readonly unread: number;
  readonly processes: number;
}

export type Dimension = 'senders' | 'sizes' | 'rows' | 'organisations' | 'waiting' | 'unread' | 'processes';

/** `take`: acceptance alone (`--roles smtp`). `parsed`: from the first connection until the last mail is PARSED. */
export type Way = 'take' | 'parsed';

export const BASE: Case = {
  senders: 20,
  sizeBytes: 10_000,
  rows: 0,
  organisations: 1,
  waiting: 0,
  unread: 0,
  processes: 1,
};

interface Varied {
  readonly field: keyof Case;
  readonly values: readonly number[];
  readonly label: (value: number) => string;
}

const counted = (value: number): string => value.toLocaleString('en');

/** The base's value is measured with each, whether it is listed or not. */
const VARIED: Readonly<Record<Dimension, Varied>> = {
  senders: { field: 'senders', values: [1, 20, 100, 500], label: (n) => `${n} ${n === 1 ? 'sender' : 'senders'}` },
  sizes: {
    field: 'sizeBytes',
    values: [10_000, 100_000, 1_000_000, 25_000_000],
    label: (n) => `${sizeText(n)} a mail`,
  },
  rows: { field: 'rows', values: [0, 10_000, 1_000_000], label: (n) => `${counted(n)} mails in the tables` },
  organisations: {
    field: 'organisations',
    values: [1, 10_000],
    label: (n) => `${counted(n)} ${n === 1 ? 'organisation' : 'organisations'}`,
  },
  waiting: { field: 'waiting', values: [0, 100_000], label: (n) => `${counted(n)} documents waiting` },
  unread: { field: 'unread', values: [0, 100_000], label: (n) => `${counted(n)} mails waiting to be read` },
  processes: { field: 'processes', values: [1, 2], label: (n) => `${n} ${n === 1 ? 'process' : 'processes'}` },
};

export const dimensions = Object.keys(VARIED) as readonly Dimension[];
export const ways: readonly Way[] = ['take', 'parsed'];

export interface NamedCase {
  readonly label: string;
  readonly case: Case;
}

/** The base first, then the others in the order given. */
export function casesOf(dimension: Dimension, values: readonly number[] | null): readonly NamedCase[] {
  const { field, label, values: usual } = VARIED[dimension];
  const all = new Set([BASE[field], ...(values ?? usual)]);
  return [...all].map((value) => ({ label: label(value), case: { ...BASE, [field]: value } }));
}

/** Unread mails would be read. */
export const isMeasured = (dimension: Dimension, way: Way): boolean => way === 'take' || dimension !== 'unread';

/** Cases that differ only in what is sent share a product. */
export const productKey = ({ rows, organisations, waiting, unread, processes }: Case): string =>
  [rows, organisations, waiting, unread, processes].join('-');

export interface ScaleOptions {
  readonly only: readonly Dimension[];
  readonly ways: readonly Way[];
  /** Instead of the usual values. */
  readonly values: Readonly<Partial<Record<Dimension, readonly number[]>>>;
  readonly rounds: number;
  readonly seconds: number;
  readonly dir: string | null;
  readonly keep: boolean;
  readonly json: string | null;
}

export const HELP = `usage: npm run bench:scale -- [options]

Measures how the cost of a mail grows: one thing is varied at a time, each case in turn with the base case
(10 KB mails on connections of their own, 20 senders, empty tables, one organisation, nothing waiting, one process).

  --only LIST        of ${dimensions.join(', ')} (default: all)
  --ways LIST        of take (acceptance alone, --roles smtp), parsed (all the way to PARSED) (default: both)
  --senders LIST, --sizes LIST, --rows LIST, --organisations LIST, --waiting LIST, --unread LIST, --processes LIST
                     the values of that dimension instead of the usual ones
  --rounds N         turns of each case, A B A B (default 3)
  --seconds N        how long mail is sent in a turn (default 1)
  --dir FOLDER       where its data goes; must be on a real disk (default: the system's temporary folder)
  --keep             leave the data: on ext4, deleting many files slows the next measurement down
  --json FILE        write everything that was measured
  --help             this
`;

/** Errors: UsageError. */
export function parseScaleOptions(args: readonly string[]): ScaleOptions | 'help' {
  const values = parse(args);
  if (values.help === true) return 'help';
  const text = (name: string): string | undefined => (typeof values[name] === 'string' ? values[name] : undefined);
  const list = (name: string): readonly string[] | undefined =>
    text(name)
      ?.split(',')
      .map((one) => one.trim());
  const asked = dimensions.flatMap((one) => {
    const given = list(one)?.map((each) => value(one, each));
    return given === undefined ? [] : [[one, given] as const];
  });
  return {
    only: list('only')?.map((one) => oneOf('only', one, dimensions)) ?? dimensions,
    ways: list('ways')?.map((one) => oneOf('ways', one, ways)) ?? ways,
    values: Object.fromEntries(asked),
    rounds: whole('rounds', text('rounds') ?? '3', 1),
    seconds: positive('seconds', text('seconds') ?? '1'),
    dir: text('dir') ?? null,
    keep: values.keep === true,
    json: text('json') ?? null,
  };
}

function parse(args: readonly string[]): Readonly<Record<string, string | boolean | undefined>> {
  const texts = ['only', 'ways', ...dimensions, 'rounds', 'seconds', 'dir', 'json'];
  const options = Object.fromEntries([
    ...texts.map((name) => [name, { type: 'string' }] as const),
    ...['keep', 'help'].map((name) => [name, { type: 'boolean' }] as const),
  ]);
  try {
    return parseArgs({ args: [...args], options }).values as Readonly<Record<string, string | boolean | undefined>>;
  } catch (error) {
    throw new UsageError((error as Error).message);
  }
}

/** None of a thing makes sense for what can wait or be there, not for senders. */
function value(dimension: Dimension, text: string): number {
  if (dimension === 'sizes') return parseSize(text) ?? wrong(dimension, text);
  return whole(dimension, text, BASE[VARIED[dimension].field] === 0 ? 0 : 1);
}

function oneOf<T extends string>(name: string, text: string, allowed: readonly T[]): T {
  return allowed.find((one) => one === text) ?? wrong(name, text);
}

function whole(name: string, text: string, least: number): number {
  const number = Number(text);
  return text !== '' && Number.isInteger(number) && number >= least ? number : wrong(name, text);
}

function positive(name: string, text: string): number {
  const number = Number(text);
  return number > 0 && Number.isFinite(number) ? number : wrong(name, text);
}

function wrong(name: string, text: string): never {
  throw new UsageError(`--${name}: not understood: ${JSON.stringify(text)}; --help tells more`);
}
