import { unlessAborted } from '../ports/abort.ts';

/**
 * Answers to questions, kept for a moment and asked once by all who want the same at the same time.
 *
 * A question nobody has the answer to is absent. Asked: its query is under way and everyone waits for it. Answered:
 * kept until its time is over, when `keep` says so. A failed query is an error for all who wait and is forgotten.
 * Holds at most `maxEntries` answers; the one unused for longest goes first.
 */
export interface BriefCache<Answer> {
  /** Errors: those of the query; the signal's reason. The query's own signal aborts when nobody waits for it any more. */
  get(key: string, query: (signal: AbortSignal) => Promise<Answer>, signal: AbortSignal): Promise<Answer>;
}

export interface BriefCacheOptions<Answer> {
  readonly keepMs: number;
  readonly maxEntries: number;
  readonly keep: (answer: Answer) => boolean;
  /** Units: milliseconds, from any beginning. */
  readonly clock: () => number;
}

interface Asked<Answer> {
  readonly answer: Promise<Answer>;
  readonly abort: AbortController;
  waiting: number;
}

export function createBriefCache<Answer>(options: BriefCacheOptions<Answer>): BriefCache<Answer> {
  const { keepMs, maxEntries, keep, clock } = options;
  const asked = new Map<string, Asked<Answer>>();
  const answered = new Map<string, { readonly answer: Answer; readonly untilMs: number }>();

  function remembered(key: string): { readonly answer: Answer } | undefined {
    const entry = answered.get(key);
    if (entry === undefined) return undefined;
    answered.delete(key);
    if (clock() >= entry.untilMs) return undefined;
    answered.set(key, entry);
    return entry;
  }

  function remember(key: string, answer: Answer): void {
    if (keepMs <= 0 || !keep(answer)) return;
    answered.delete(key);
    answered.set(key, { answer, untilMs: clock() + keepMs });
    for (const oldest of answered.keys()) {
      if (answered.size <= maxEntries) break;
      answered.delete(oldest);
    }
  }

  async function ask(key: string, query: (signal: AbortSignal) => Promise<Answer>, abort: AbortController) {
    try {
      const answer = await query(abort.signal);
      remember(key, answer);
      return answer;
    } finally {
      if (asked.get(key)?.abort === abort) asked.delete(key);
    }
  }

  async function joinOrAsk(key: string, query: (signal: AbortSignal) => Promise<Answer>, signal: AbortSignal) {
    let question = asked.get(key);
    if (question === undefined) {
      const abort = new AbortController();
      question = { answer: ask(key, query, abort), abort, waiting: 0 };
      asked.set(key, question);
    }
    question.waiting++;
    try {
      return await unlessAborted(question.answer, signal);
    } finally {
      question.waiting--;
      if (question.waiting === 0 && asked.get(key) === question) {
        asked.delete(key);
        question.abort.abort(signal.reason);
      }
    }
  }

  return {
    async get(key, query, signal) {
      signal.throwIfAborted();
      const known = remembered(key);
      if (known !== undefined) return known.answer;
      const joined = asked.has(key);
      const answer = await joinOrAsk(key, query, signal);
      // A query that began before we came cannot speak for now: an organisation added in between would be "unknown".
      if (joined && !keep(answer)) return remembered(key)?.answer ?? joinOrAsk(key, query, signal);
      return answer;
    },
  };
}
