/** What was measured, as it is reported and written to JSON. */
import type { LoadName } from './load.ts';
import type { Scenario } from './scenarios.ts';
import type { Percentiles } from './statistics.ts';
import type { Usage } from './usage.ts';

/** One side sent to, once. */
export interface Turn {
  /** Answered 250; for extraction, mails that became PARSED. */
  readonly mails: number;
  /** From the first connection to the last reply, or to the last PARSED. */
  readonly elapsedMs: number;
  readonly mailsPerSecond: number;
  readonly bytesPerSecond: number;
  /** End of DATA to reply. Units: milliseconds. */
  readonly ackMs: Percentiles | null;
  readonly replies: Readonly<Record<string, number>>;
  readonly generatorCpuMs: number | null;
  readonly usage: Usage | null;
  /** What PostgreSQL logged ahead for them; null for a peer. */
  readonly walBytes: number | null;
}

/** All turns of one side in one scenario. */
export interface Series {
  readonly scenario: Scenario;
  readonly side: string;
  readonly isPeer: boolean;
  /** null: nothing was sent. */
  readonly load: LoadName | null;
  readonly turns: readonly Turn[];
}

export interface Ceiling {
  readonly load: LoadName;
  readonly scenario: Scenario;
  readonly mailsPerSecond: number;
  readonly bytesPerSecond: number;
}

export interface Machine {
  readonly processor: string;
  readonly cores: number;
  readonly memoryBytes: number;
  readonly system: string;
  readonly fileSystem: string;
  readonly node: string;
  readonly postgres: string | null;
  /** Units: processes that wanted a core in the last minute before the bench began. */
  readonly loadBefore: number;
}

export interface Report {
  readonly startedAt: string;
  readonly command: string;
  readonly machine: Machine;
  readonly ceilings: readonly Ceiling[];
  readonly series: readonly Series[];
  /** Whatever makes the figures worthless; empty when all is well. */
  readonly problems: readonly string[];
}

/** Units: milliseconds in, per second out. */
export function rates(
  mails: number,
  sizeBytes: number,
  elapsedMs: number,
): Pick<Turn, 'mails' | 'elapsedMs' | 'mailsPerSecond' | 'bytesPerSecond'> {
  const mailsPerSecond = elapsedMs > 0 ? (mails * 1000) / elapsedMs : 0;
  return { mails, elapsedMs, mailsPerSecond, bytesPerSecond: mailsPerSecond * sizeBytes };
}
