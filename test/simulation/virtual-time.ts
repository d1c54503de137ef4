/**
 * Clocks, timers and chance of the simulated world in the place of Node's own, for everything that runs in this process: the
 * code under test keeps its imports. What is not a timer is not touched: promises and streams end by themselves, within the
 * turn that began them.
 */
import crypto from 'node:crypto';
import { syncBuiltinESMExports } from 'node:module';
import { performance } from 'node:perf_hooks';
import timersPromises from 'node:timers/promises';

export interface TimeSource {
  /** Units: milliseconds since 1970. */
  now(): number;
  /** Shape: what calls it off. */
  after(durationMs: number, fire: () => void): () => void;
  fill(bytes: Uint8Array): void;
}

interface VirtualTimer {
  cancel(): void;
  ref(): VirtualTimer;
  unref(): VirtualTimer;
  hasRef(): boolean;
}

const realImmediate = setImmediate;

/** Resolves when all that needed neither a timer nor a peer has ended. */
export function turnIsOver(): Promise<void> {
  return new Promise((resolve) => void realImmediate(resolve));
}

/** Shape: what gives Node's own back. */
export function installVirtualTime(source: () => TimeSource): () => void {
  const timer = (durationMs: number, fire: () => void): VirtualTimer => {
    const cancel = source().after(Math.max(0, Number(durationMs) || 0), fire);
    const self: VirtualTimer = { cancel, ref: () => self, unref: () => self, hasRef: () => true };
    return self;
  };
  const repeated = (durationMs: number, fire: () => void): VirtualTimer => {
    let current: VirtualTimer;
    const again = (): VirtualTimer =>
      timer(Math.max(1, durationMs), () => {
        current = again();
        fire();
      });
    current = again();
    return { ...current, cancel: () => current.cancel() };
  };
  const cancel = (one: VirtualTimer | undefined): void => one?.cancel();
  const sleep = <T>(durationMs: number, value?: T, o?: { readonly signal?: AbortSignal }): Promise<T | undefined> =>
    new Promise((resolve, reject) => {
      const signal = o?.signal;
      const stop = (): void => {
        waiting.cancel();
        reject(new DOMException('The operation was aborted', 'AbortError'));
      };
      const waiting = timer(durationMs, () => {
        signal?.removeEventListener('abort', stop);
        resolve(value);
      });
      if (signal?.aborted) stop();
      else signal?.addEventListener('abort', stop, { once: true });
    });
  const randomUUID = (): string => {
    const bytes = Buffer.alloc(16);
    source().fill(bytes);
    const hex = bytes.toString('hex');
    return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-4${hex.slice(13, 16)}-8${hex.slice(17, 20)}-${hex.slice(20)}`;
  };
  const fillSync = (bytes: Uint8Array): Uint8Array => {
    source().fill(bytes);
    return bytes;
  };

  const undos = [
    replace(globalThis, {
      setTimeout: (fire: () => void, durationMs: number) => timer(durationMs, fire),
      clearTimeout: cancel,
      setInterval: (fire: () => void, durationMs: number) => repeated(durationMs, fire),
      clearInterval: cancel,
      setImmediate: (fire: () => void) => timer(0, fire),
      clearImmediate: cancel,
    }),
    replace(timersPromises, { setTimeout: sleep, setImmediate: (value?: unknown) => sleep(0, value) }),
    replace(Date, { now: () => source().now() }),
    replace(performance, { now: () => source().now() }),
    replace(crypto, { randomUUID, randomFillSync: fillSync }),
  ];
  syncBuiltinESMExports();
  return () => {
    for (const undo of undos) undo();
    syncBuiltinESMExports();
  };
}

function replace(target: object, by: Readonly<Record<string, unknown>>): () => void {
  const before = Object.keys(by).map((name) => [name, Object.getOwnPropertyDescriptor(target, name)] as const);
  for (const [name, value] of Object.entries(by)) {
    Object.defineProperty(target, name, { value, configurable: true, writable: true, enumerable: true });
  }
  return () => {
    for (const [name, descriptor] of before) {
      if (descriptor === undefined) Reflect.deleteProperty(target, name);
      else Object.defineProperty(target, name, descriptor);
    }
  };
}
