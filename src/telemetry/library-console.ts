/**
 * What libraries print to the console, as lines of our log: graphile-worker, BullMQ, ioredis and the AWS SDK print some
 * of their troubles, with stacks, past every logger they are given. Standard error is ours, for the operator.
 */
import { format } from 'node:util';
import type { Log } from './log.ts';
import { visibleBeginning } from './visible-text.ts';

const MAX_TEXT_CHARACTERS = 1_000;

const LEVELS = { trace: 'warn', error: 'warn', warn: 'warn', info: 'debug', log: 'debug', debug: 'debug' } as const;

type Method = keyof typeof LEVELS;

/** Shape: returns how to undo it. The line names the call, so that whoever reads it can find the library. */
export function takeOverConsole(log: Log, target: Pick<Console, Method> = console): () => void {
  const before = { ...target };
  for (const method of Object.keys(LEVELS) as Method[]) {
    target[method] = (...words: readonly unknown[]): void => {
      const text = visibleBeginning(textOf(words), MAX_TEXT_CHARACTERS);
      log[LEVELS[method]]({ console: method, text }, 'a library printed to the console');
    };
  }
  return () => {
    Object.assign(target, before);
  };
}

/** Without the stack of an error: what is wrong, not where in the library. */
function textOf(words: readonly unknown[]): string {
  return format(...words.map((word) => (word instanceof Error ? `${word.name}: ${word.message}` : word)));
}
