import type { ReceiverStep } from './observer.ts';

/** A call of the receiver is not back in time; the library no longer waits for it. */
export class ReceiverDeadline extends Error {
  readonly step: ReceiverStep;
  readonly timeoutMs: number;
  constructor(step: ReceiverStep, timeoutMs: number) {
    super(`${step} did not come back within ${timeoutMs} ms`);
    this.name = 'ReceiverDeadline';
    this.step = step;
    this.timeoutMs = timeoutMs;
  }
}
