/**
 * Taking mail goes before reading it: a sender that has to wait may go away, a job may not. While mail arrives and this
 * process has its hands full, a job waits before it begins, but never for long, so that the queue keeps moving.
 *
 * Looked at every SAMPLE_MS: busy when mail has come since the last look and the event loop worked for more than half of
 * the time: the other half it waited for the disk and PostgreSQL, which a job keeps busy as well. In a process that takes
 * no mail, nothing is ever busy.
 */
import { performance } from 'node:perf_hooks';
import { setTimeout as sleep } from 'node:timers/promises';

const SAMPLE_MS = 50;
const BUSY_UTILIZATION = 0.5;
const MAX_WAIT_MS = 1_000;

export interface Courtesy {
  /** A mail has been taken, or turned away. */
  mailSeen(): void;
  /** Resolves when a job may begin. Errors: the signal's reason. */
  turn(signal: AbortSignal): Promise<void>;
  close(): void;
}

export function createCourtesy(): Courtesy {
  let busy = false;
  let mails = 0;
  let last = performance.eventLoopUtilization();
  const sampling = setInterval(() => {
    const now = performance.eventLoopUtilization();
    busy = mails > 0 && performance.eventLoopUtilization(now, last).utilization > BUSY_UTILIZATION;
    last = now;
    mails = 0;
  }, SAMPLE_MS);
  sampling.unref();
  return {
    mailSeen() {
      mails++;
    },
    async turn(signal) {
      for (let waitedMs = 0; busy && waitedMs < MAX_WAIT_MS; waitedMs += SAMPLE_MS) {
        await sleep(SAMPLE_MS, undefined, { signal });
      }
    },
    close() {
      clearInterval(sampling);
      busy = false;
    },
  };
}
