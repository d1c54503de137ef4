/** What is measured: the default set, and the product of whatever dimensions are asked for. */
import type { LoadName } from './load.ts';

export type Group = 'acceptance' | 'parsed' | 'extraction' | 'beside' | 'memory';
export const groups: readonly Group[] = ['acceptance', 'parsed', 'extraction', 'beside', 'memory'];

export interface Scenario {
  readonly group: Group;
  readonly sizeBytes: number;
  readonly senders: number;
  readonly reuse: boolean;
  /** One of the bars is told in `smtp-source`'s figures. */
  readonly bar: boolean;
}

export interface Dimensions {
  /** Units: bytes. null: as in the default set. */
  readonly sizes: readonly number[] | null;
  readonly senders: readonly number[] | null;
  readonly sessions: readonly ('own' | 'reused')[] | null;
  readonly only: readonly Group[];
}

const KB = 1_000;
const MB = 1_000_000;

const scenario = (group: Group, sizeBytes: number, senders: number, more: Partial<Scenario> = {}): Scenario => ({
  group,
  sizeBytes,
  senders,
  reuse: false,
  bar: false,
  ...more,
});

const defaultAcceptance: readonly Scenario[] = [
  scenario('acceptance', 10 * KB, 20, { bar: true }),
  scenario('acceptance', 10 * KB, 20, { bar: true, reuse: true }),
  scenario('acceptance', 1 * MB, 20, { bar: true }),
  scenario('acceptance', 100 * KB, 20),
  scenario('acceptance', 25 * MB, 1),
  scenario('acceptance', 10 * KB, 1),
  scenario('acceptance', 10 * KB, 100, { bar: true }),
  scenario('acceptance', 10 * KB, 100, { bar: true, reuse: true }),
  scenario('acceptance', 1 * MB, 100, { bar: true }),
];

const defaultOthers: readonly Scenario[] = [
  scenario('parsed', 10 * KB, 100),
  scenario('parsed', 100 * KB, 20),
  scenario('extraction', 10 * KB, 20),
  scenario('extraction', 100 * KB, 20),
  scenario('extraction', 25 * MB, 1),
  scenario('beside', 10 * KB, 20),
  scenario('memory', 25 * MB, 100),
];

export function chooseScenarios({ sizes, senders, sessions, only }: Dimensions): readonly Scenario[] {
  const asked = sizes !== null || senders !== null || sessions !== null;
  const all = asked ? crossProduct({ sizes, senders, sessions, only }) : [...defaultAcceptance, ...defaultOthers];
  return all.filter(({ group }) => only.includes(group));
}

/** Sessions matter to acceptance, senders to all but extraction; no scenario comes twice. */
function crossProduct({ sizes, senders, sessions, only }: Dimensions): readonly Scenario[] {
  const all = only.flatMap((group) =>
    (sizes ?? [10 * KB]).flatMap((size) =>
      (group === 'extraction' ? [20] : (senders ?? [group === 'memory' ? 100 : 20])).flatMap((count) =>
        (group === 'acceptance' ? (sessions ?? (['own'] as const)) : (['own'] as const)).map((session) =>
          scenario(group, size, count, { reuse: session === 'reused', bar: true }),
        ),
      ),
    ),
  );
  return [...new Map(all.map((one) => [JSON.stringify(one), one])).values()];
}

/** Mails that extraction alone is measured with: enough for seconds, not for gigabytes. */
export function extractionMails(sizeBytes: number): number {
  return Math.min(1_500, Math.max(8, Math.round((200 * MB) / sizeBytes)));
}

/** What waits to be extracted while other mails are taken: it lasts longer than a turn. */
export const waitingMails = { sizeBytes: 25 * MB, mails: 30 } as const;

/**
 * A server that has run for an hour is what is compared: V8 compiles the way of a mail for some thousand mails, and until
 * then 10 KB mails take half as much processor time again. The way to PARSED is not compared with anything.
 */
export function warmUpMails({ group, sizeBytes, senders }: Scenario): number {
  const [mails, bytes] = group === 'acceptance' ? [3_000, 300 * MB] : [200, 50 * MB];
  return Math.max(senders, Math.min(mails, Math.round(bytes / sizeBytes)));
}

/** Enough for the compiler of client and sink to have done its work. */
export function ceilingWarmUpMails({ sizeBytes, senders }: Scenario): number {
  return Math.max(senders, Math.min(1_000, Math.round((200 * MB) / sizeBytes)));
}

/** `smtp-source` knows neither reuse by time nor our mails; it repeats what the bars are told in. */
export function loadsFor(one: Scenario, available: readonly LoadName[]): readonly LoadName[] {
  if (one.group !== 'acceptance') return ['client'];
  return available.filter((name) => name === 'client' || one.bar || !available.includes('client'));
}

export function describe({ group, sizeBytes, senders, reuse }: Scenario): string {
  const who = `${senders} ${senders === 1 ? 'sender' : 'senders'}`;
  switch (group) {
    case 'acceptance':
      return `${sizeText(sizeBytes)}, ${reuse ? 'reused sessions' : 'own connection'}, ${who}`;
    case 'parsed':
      return `${sizeText(sizeBytes)} to PARSED, ${who}`;
    case 'extraction':
      return `${sizeText(sizeBytes)}, extraction alone`;
    case 'beside':
      return `${sizeText(sizeBytes)} while ${sizeText(waitingMails.sizeBytes)} mails are extracted, ${who}`;
    case 'memory':
      return `${senders} × ${sizeText(sizeBytes)} at once`;
    default:
      return group satisfies never;
  }
}

export function sizeText(bytes: number): string {
  if (bytes >= MB) return `${number(bytes / MB)} MB`;
  return bytes >= KB ? `${number(bytes / KB)} KB` : `${bytes} B`;
}

const number = (value: number): string => String(Number(value.toFixed(1)));

/** `10KB`, `1.5 MB`, `2000`; null for anything else. */
export function parseSize(text: string): number | null {
  const found = /^(\d+(?:\.\d+)?)\s*(KB|MB|B)?$/i.exec(text.trim());
  if (found === null) return null;
  const unit = { KB, MB, B: 1 }[(found[2] ?? 'B').toUpperCase()] ?? 1;
  return Math.round(Number(found[1]) * unit);
}
