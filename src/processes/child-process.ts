/** A child as the first process sees it: started, asked, told to stop, seen to end. */
import cluster from 'node:cluster';
import {
  type Address,
  type Assignment,
  CHILD_ARGUMENT,
  errorOf,
  type Failure,
  type Order,
  type Question,
  type Said,
} from './protocol.ts';

/** The child could not begin; the message is its own. */
export class ChildFailedError extends Error {
  readonly forOperator: boolean;
  constructor({ message, forOperator, stack }: Failure) {
    super(message);
    this.forOperator = forOperator;
    if (stack !== undefined) this.stack = stack;
  }
}

export interface ChildEnd {
  /** For the log: `exit code 1`, `SIGKILL`, or its own word on why it could not begin. */
  readonly reason: string;
  /** It ended by itself, with 0, and all its parts did. */
  readonly clean: boolean;
  readonly unclosed: readonly string[];
  readonly livedMs: number;
}

export interface Child {
  readonly name: string;
  readonly pid: number;
  /** Errors: `ChildFailedError`, also when it ends before. */
  readonly ready: Promise<Address | null>;
  /** Never rejects. */
  readonly ended: Promise<ChildEnd>;
  /** What it had counted when it ended, if it had time to say so. */
  lastMetrics(): unknown;
  /** Errors: its own, or a `TimeoutError`. */
  ask(question: Question, deadlineMs: number): Promise<unknown>;
  reload(): void;
  stop(): void;
  signal(signal: NodeJS.Signals): void;
}

/**
 * QUIRK: with SCHED_RR, Node's default, the first process accepts and hands connections over one by one, and one that is
 * on its way to a child that dies stays open for ever, owned by nobody. With SCHED_NONE all children accept from one
 * socket: a connection nobody has accepted yet is taken by another child, and the first process is in nobody's way.
 */
cluster.schedulingPolicy = cluster.SCHED_NONE;

export function startChild(assignment: Assignment): Child {
  // `advanced`: NaN among the metrics survives.
  cluster.setupPrimary({ args: [CHILD_ARGUMENT, assignment.name], serialization: 'advanced' });
  const startedAt = performance.now();
  const worker = cluster.fork();
  const ready = Promise.withResolvers<Address | null>();
  const ended = Promise.withResolvers<ChildEnd>();
  const questions = new Map<number, PromiseWithResolvers<unknown>>();
  let asked = 0;
  let failure: Failure | null = null;
  let last: Extract<Said, { said: 'ended' }> | null = null;
  ready.promise.catch(() => {}); // Whoever started it may look at its end instead.

  const send = (order: Order): void => {
    // The callback takes the error of a channel that closes in this moment; its end is told by `exit`.
    if (worker.isConnected()) worker.send(order, () => {});
  };

  worker.on('message', (said: Said) => {
    if (said.said === 'ready') ready.resolve(said.smtp);
    else if (said.said === 'failed') failure = said.failure;
    else if (said.said === 'ended') last = said;
    else if (said.said === 'answer') {
      const question = questions.get(said.id);
      questions.delete(said.id);
      if (said.failure === undefined) question?.resolve(said.value);
      else question?.reject(errorOf(said.failure));
    }
  });

  const end = (reason: string, clean: boolean): void => {
    const gone: Failure = failure ?? { message: `process ${assignment.name} ended: ${reason}`, forOperator: true };
    ready.reject(new ChildFailedError(gone));
    for (const question of questions.values()) question.reject(errorOf({ ...gone, code: 'ESRCH' }));
    questions.clear();
    const unclosed = last?.unclosed ?? [];
    const livedMs = performance.now() - startedAt;
    ended.resolve({ reason: failure?.message ?? reason, clean: clean && unclosed.length === 0, unclosed, livedMs });
  };
  worker.on('exit', (code: number | null, signal: string | null) => end(signal ?? `exit code ${code}`, code === 0));
  // It could not be started at all: too many processes, no memory.
  worker.on('error', (error) => {
    if (worker.process.pid === undefined) end(error.message, false);
  });
  send({ order: 'begin', assignment });

  return {
    name: assignment.name,
    pid: worker.process.pid ?? 0,
    ready: ready.promise,
    ended: ended.promise,
    lastMetrics: () => last?.metrics,
    async ask(question, deadlineMs) {
      const id = ++asked;
      const answer = Promise.withResolvers<unknown>();
      if (!worker.isConnected()) throw Object.assign(new Error('the process is gone'), { code: 'ESRCH' });
      questions.set(id, answer);
      const late = setTimeout(() => {
        questions.delete(id);
        answer.reject(Object.assign(new Error(`no answer within ${deadlineMs} ms`), { name: 'TimeoutError' }));
      }, deadlineMs);
      send({ order: 'ask', id, question });
      return await answer.promise.finally(() => clearTimeout(late));
    },
    reload: () => send({ order: 'reload' }),
    stop: () => send({ order: 'stop' }),
    signal: (signal) => void worker.process.kill(signal),
  };
}
