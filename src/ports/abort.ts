/**
 * How to wait with the signals that the ports carry.
 *
 * The outcome of the work, or the signal's reason as soon as it aborts; the work itself goes on.
 * One listener per wait, removed after it: racing one long-lived promise would grow with every chunk of a mail.
 */
export function unlessAborted<T>(work: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return work;
  return new Promise((resolve, reject) => {
    const onAbort = () => reject(signal.reason);
    const settled = () => signal.removeEventListener('abort', onAbort);
    if (signal.aborted) onAbort();
    signal.addEventListener('abort', onAbort, { once: true });
    work.then(resolve, reject);
    work.then(settled, settled);
  });
}
