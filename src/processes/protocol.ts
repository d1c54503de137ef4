/** What the first process and its children say to each other, over the channel that Node opens between them. */
import type { Role } from '../cli/context.ts';
import type { Settings } from '../config/settings.ts';

/** The first argument of a child; the second is its name. Only so that a list of processes tells them apart. */
export const CHILD_ARGUMENT = 'child';

/** All that a child has to know: a replacement gets the same, whatever has become of `.env` since. */
export interface Assignment {
  readonly name: string;
  readonly roles: readonly Role[];
  readonly settings: Settings;
  readonly databaseUrl: string;
}

/** `check`: can its roles do their work, each its own? `metrics`: everything counted so far. */
export type Question = 'check' | 'metrics';

export type Order =
  | { readonly order: 'begin'; readonly assignment: Assignment }
  | { readonly order: 'ask'; readonly id: number; readonly question: Question }
  | { readonly order: 'reload' }
  | { readonly order: 'stop' };

export interface Address {
  readonly host: string;
  readonly port: number;
}

export interface Failure {
  readonly message: string;
  /** Of the deepest cause that has one. */
  readonly code?: string;
  /** The message is made for the operator. */
  readonly forOperator: boolean;
  readonly stack?: string;
  /** Of a check: since when. */
  readonly since?: Date;
}

export type Said =
  | { readonly said: 'ready'; readonly smtp: Address | null }
  | { readonly said: 'failed'; readonly failure: Failure }
  | { readonly said: 'answer'; readonly id: number; readonly value?: unknown; readonly failure?: Failure }
  /** The last word. Shape: `metrics` as answered to that question; `unclosed`: parts that did not end in time. */
  | { readonly said: 'ended'; readonly metrics: unknown; readonly unclosed: readonly string[] };

export function failureOf(error: unknown, forOperator: boolean): Failure {
  const { message, stack } = error instanceof Error ? error : new Error(String(error));
  const code = codeOf(error);
  const { since } = error as { since?: unknown };
  return {
    message,
    forOperator,
    ...(stack === undefined ? {} : { stack }),
    ...(code === undefined ? {} : { code }),
    ...(since instanceof Date ? { since } : {}),
  };
}

export function errorOf({ message, forOperator: _, ...facts }: Failure): Error {
  return Object.assign(new Error(message), facts);
}

function codeOf(error: unknown, depth = 0): string | undefined {
  if (!(error instanceof Error) || depth > 5) return undefined;
  const inner = error instanceof AggregateError ? error.errors[0] : error.cause;
  const { code } = error as { code?: unknown };
  return codeOf(inner, depth + 1) ?? (typeof code === 'string' ? code : undefined);
}
