/**
 * What a child process does: it is told what to run, says when it is ready, answers questions, and ends when it is told
 * to, when it gets SIGTERM, or when the process that started it is gone; mails and jobs under way are finished first.
 */
import cluster from 'node:cluster';
import { constants, getPriority, setPriority } from 'node:os';
import type { Compose, RunningPart } from '../cli/context.ts';
import { createLog, type Log } from '../telemetry/log.ts';
import { type Assignment, CHILD_ARGUMENT, failureOf, type Order, type Question, type Said } from './protocol.ts';

/** Not only by Node's word: a process manager may run the whole program as a cluster worker of its own. */
export const isChild = (args: readonly string[]): boolean => cluster.isWorker && args[0] === CHILD_ARGUMENT;

/** Resolves with the exit code. Never rejects. */
export async function runChild(loadCompose: () => Promise<Compose>): Promise<number> {
  const stopping = listenForTheEnd();
  const { promise: assigned, resolve: assign } = Promise.withResolvers<Assignment>();
  let reload = async (): Promise<void> => {}; // What is not read yet is read fresh.
  let answer = async (_question: Question): Promise<unknown> => Promise.reject(new Error('not ready yet'));
  process.on('message', (order: Order) => {
    if (order.order === 'begin') assign(order.assignment);
    else if (order.order === 'stop') stopping.stop();
    else if (order.order === 'reload') void reload();
    else if (order.order === 'ask') void reply(order.id, answer(order.question));
  });
  const assignment = await Promise.race([assigned, stopping.asked.then(() => null)]);
  if (assignment === null) return 0;
  const log = createLog(assignment.settings.log).child({ process: assignment.name, pid: process.pid });
  const stop = new AbortController();
  void stopping.asked.then(() => stop.abort());
  const part = await startPart(assignment, log, loadCompose, stop.signal);
  if (part === null) return stop.signal.aborted ? 0 : 1;
  answer = (question) => (question === 'metrics' ? part.metrics() : part.check());
  reload = part.reload;
  await say({ said: 'ready', smtp: part.smtp });
  await stopping.asked;
  const unclosed = await part.stop();
  await say({ said: 'ended', metrics: await part.metrics(), unclosed });
  return unclosed.length === 0 ? 0 : 1;
}

/** null when it cannot be started, and the parent has been told why; or when it is to stop before it is. */
async function startPart(
  { roles, settings, databaseUrl }: Assignment,
  log: Log,
  loadCompose: () => Promise<Compose>,
  signal: AbortSignal,
): Promise<RunningPart | null> {
  if (!roles.includes('smtp')) goAfterMail(log);
  const compose = await loadCompose();
  try {
    return await compose.startPart({ settings, roles, databaseUrl, log, signal });
  } catch (error) {
    if (signal.aborted) return null;
    await say({ said: 'failed', failure: failureOf(error, error instanceof compose.StartError) });
    return null;
  }
}

/** Reading mail takes what taking mail leaves of the processor; where there is enough for both, it changes nothing. */
function goAfterMail(log: Log): void {
  try {
    setPriority(Math.min(constants.priority.PRIORITY_LOW, getPriority() + constants.priority.PRIORITY_BELOW_NORMAL));
  } catch (error) {
    log.debug({ err: error }, 'the priority cannot be lowered');
  }
}

/**
 * Ctrl-C, and the end of the terminal, go to every process of it, and only the first one decides what they mean. SIGTERM
 * to this one alone means: let another take its place.
 */
function listenForTheEnd(): { readonly asked: Promise<void>; stop(): void } {
  const { promise, resolve } = Promise.withResolvers<void>();
  process.on('SIGINT', () => {}).on('SIGHUP', () => {});
  process.on('SIGTERM', () => resolve());
  process.once('disconnect', () => resolve());
  // Node would end a worker at once when its channel closes; ours finishes what is under way.
  if (cluster.worker) cluster.worker.exitedAfterDisconnect = true;
  return { asked: promise, stop: resolve };
}

async function reply(id: number, answer: Promise<unknown>): Promise<void> {
  try {
    await say({ said: 'answer', id, value: await answer });
  } catch (error) {
    await say({ said: 'answer', id, failure: failureOf(error, false) });
  }
}

/** Resolves when it is out, or when there is nobody to hear it. */
function say(said: Said): Promise<void> {
  return new Promise((resolve) => {
    if (!process.connected || process.send === undefined) return resolve();
    process.send(said, undefined, undefined, () => resolve());
  });
}
