/**
 * One computation for all who ask within `maxAgeMs` of its beginning, or while it is under way.
 * Errors: those of `compute`, kept as long.
 */
export function keptFor<T>(maxAgeMs: number, compute: () => Promise<T>): () => Promise<T> {
  let answer: Promise<T> | null = null;
  return () => {
    if (answer !== null) return answer;
    const current = compute();
    answer = current;
    const age = new Promise((resolve) => setTimeout(resolve, maxAgeMs).unref());
    void Promise.allSettled([current, age]).then(() => {
      answer = null; // The text of many series need not stay in memory until the next scrape.
    });
    return current;
  };
}
