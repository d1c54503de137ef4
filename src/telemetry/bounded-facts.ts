/**
 * The bounds of one log line, whoever writes it: a sender chooses addresses, names, types and Message-IDs, and none of
 * them may fill the log. 4 KB a line, so that a pipe takes it whole (see `kept-lines.ts`).
 */
import { stdSerializers } from 'pino';
import { CHUNK_BYTES } from './kept-lines.ts';

/** A path has 256 octets at most (RFC 5321 §4.5.3.1.3): no address is cut, and hardly a Message-ID. */
const MAX_TEXT_CHARACTERS = 256;
/** What is ours: where in the code, and what a library has printed. */
const MAX_STACK_CHARACTERS = 2_500;
const MAX_LIBRARY_TEXT_CHARACTERS = 1_000;
/** Of a list, and of the fields of an object: document ids are fifty at most, notes as well. */
const MAX_ITEMS = 100;
const MAX_DEPTH = 6;
const MAX_LINE_BYTES = CHUNK_BYTES;

type Facts = Readonly<Record<string, unknown>>;

interface Bounds {
  readonly maxItems: number;
  /** Of the text under a name. */
  readonly maxCharacters: (key: string) => number;
}

const LONGER: ReadonlyMap<string, number> = new Map([
  ['stack', MAX_STACK_CHARACTERS],
  ['text', MAX_LIBRARY_TEXT_CHARACTERS],
]);

const OF_FACTS: Bounds = { maxItems: MAX_ITEMS, maxCharacters: (key) => LONGER.get(key) ?? MAX_TEXT_CHARACTERS };

/** Every text cut, every list and depth as well. Shape: the same object where nothing had to be cut. */
export function boundedFacts<T extends Facts>(facts: T): T {
  return isShort(facts) ? facts : (boundedFields(facts, 0, OF_FACTS) as T);
}

/** As nearly all are: a few fields, each a number or a short text. */
function isShort(facts: Facts): boolean {
  let fields = 0;
  for (const key in facts) {
    const value = facts[key];
    if (typeof value === 'string' ? value.length > MAX_TEXT_CHARACTERS : typeof value === 'object' && value !== null)
      return false;
    if (key.length > MAX_TEXT_CHARACTERS || ++fields > MAX_ITEMS) return false;
  }
  return true;
}

/** An error as pino tells it, with the messages of its causes, and their stacks as far as there is room. */
export function boundedError(error: unknown): unknown {
  return error instanceof Error ? boundedFacts({ ...stdSerializers.err(error) }) : error;
}

/** What joins the lines of a mail. */
const JOINS = /^(time|trace_id|session_id|org_id|message_id|inbound_message_id)$/;

/**
 * A JSON line as short as a pipe takes it whole: its texts are cut more and more. Where they are too many for that, only
 * the fields at its top stay that are no lists, with `cut`.
 */
export function boundedLine(line: string): string {
  if (line.length * 3 <= MAX_LINE_BYTES || Buffer.byteLength(line) <= MAX_LINE_BYTES) return line;
  const facts = JSON.parse(line) as Facts;
  for (const most of [1_000, 200, 100, 50, 30, 15]) {
    const maxCharacters = (key: string): number => (JOINS.test(key) ? MAX_TEXT_CHARACTERS : most);
    const shorter = `${JSON.stringify(boundedFields(facts, 0, { maxItems: Infinity, maxCharacters }))}\n`;
    if (Buffer.byteLength(shorter) <= MAX_LINE_BYTES) return shorter;
  }
  const top = Object.entries(facts).filter(([, value]) => typeof value !== 'object');
  const { level, time, msg } = facts;
  for (const fields of [Object.fromEntries(top), { level, time, msg }]) {
    const short = boundedFields({ ...fields, cut: true }, 0, { maxItems: Infinity, maxCharacters: () => 100 });
    const shorter = `${JSON.stringify(short)}\n`;
    if (Buffer.byteLength(shorter) <= MAX_LINE_BYTES) return shorter;
  }
  return `${JSON.stringify({ level, time, cut: true })}\n`;
}

function boundedFields(facts: Facts, depth: number, bounds: Bounds): Facts {
  const keys = Object.keys(facts).slice(0, bounds.maxItems);
  const kept: Record<string, unknown> = {};
  let changed = keys.length < Object.keys(facts).length;
  for (const key of keys) {
    const name = cut(key, MAX_TEXT_CHARACTERS);
    kept[name] = bounded(facts[key], depth, bounds, key);
    changed ||= kept[name] !== facts[key] || name !== key;
  }
  return changed ? kept : facts;
}

function bounded(value: unknown, depth: number, bounds: Bounds, key: string): unknown {
  if (typeof value === 'string') return cut(value, bounds.maxCharacters(key));
  if (typeof value !== 'object' || value === null || 'toJSON' in value || value instanceof Error) return value;
  if (depth >= MAX_DEPTH) return '…';
  if (!Array.isArray(value)) return boundedFields(value as Facts, depth + 1, bounds);
  const kept = value.slice(0, bounds.maxItems).map((item) => bounded(item, depth + 1, bounds, key));
  if (value.length > bounds.maxItems) kept.push(`… ${value.length - bounds.maxItems} more`);
  return kept.length !== value.length || kept.some((item, index) => item !== value[index]) ? kept : value;
}

function cut(text: string, maxCharacters: number): string {
  return text.length <= maxCharacters ? text : `${text.slice(0, maxCharacters - 1).toWellFormed()}…`;
}
