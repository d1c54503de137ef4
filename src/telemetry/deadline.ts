/** Asking a dependency without hanging on it and without piling up questions it does not answer. */

export class DeadlineError extends Error {
  readonly deadlineMs: number;
  constructor(deadlineMs: number) {
    super(`no answer within ${deadlineMs} ms`);
    this.name = 'DeadlineError';
    this.deadlineMs = deadlineMs;
  }
}

/** A question that ignores its signal is given up after this many deadlines, so that recovery is noticed. */
const deadlinesUntilGivenUp = 10;

/**
 * Wraps a question so that callers at the same time share one asking, and each waits at most the deadline.
 * While a question that ignores its signal stays open, no second one is asked: they cannot pile up.
 * Errors: those of the question, or `DeadlineError`.
 */
export function askWithDeadline<T>(
  question: (signal: AbortSignal) => Promise<T>,
  deadlineMs: number,
): () => Promise<T> {
  let open: Promise<T> | null = null;
  const ask = async (): Promise<T> => await question(AbortSignal.timeout(deadlineMs));
  return async () => {
    open ??= within(ask(), deadlinesUntilGivenUp * deadlineMs).finally(() => {
      open = null;
    });
    return await within(open, deadlineMs);
  };
}

async function within<T>(answer: Promise<T>, deadlineMs: number): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const deadline = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new DeadlineError(deadlineMs)), deadlineMs);
  });
  try {
    return await Promise.race([answer, deadline]);
  } finally {
    clearTimeout(timer);
  }
}
