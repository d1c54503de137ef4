/**
 * The bytes that are fed but not settled yet. Positions count from the first byte of the stream, so that they stay
 * good when the window moves on. A chunk that meets an empty window is looked at where it lies; only what is held
 * back is copied.
 */
import { noBytes } from './transfer/decoder.ts';

export interface Window {
  /** The bytes in view; `bytes[0]` stands at position `base`. */
  bytes: Buffer;
  base: number;
  append(chunk: Uint8Array): void;
  /** Everything before `position` is done with. */
  release(position: number): void;
  /** Takes the bytes [from, to) out. What is held before them moves up to `to`; what follows keeps its position. */
  cut(from: number, to: number): void;
}

const smallestStoreBytes = 4 * 1024;

export function createWindow(): Window {
  /** Own memory, for bytes that outlive the chunk they came in. */
  let store: Buffer = noBytes;
  /** The bytes in view lie in it. */
  let isOwn = false;
  let keepFrom = 0;

  /** A small one comes out of Node's pool: memory of its own costs as much as reading a whole short mail. */
  const largerStore = (held: number, room: number): Buffer =>
    Buffer.allocUnsafe(Math.max(smallestStoreBytes, 2 * held, held + room));

  const settleHeld = (room: number): number => {
    const held = window.bytes.subarray(keepFrom - window.base);
    if (held.length + room > store.length) {
      const grown = largerStore(held.length, room);
      held.copy(grown);
      store = grown;
    } else if (!isOwn || held.byteOffset !== store.byteOffset) {
      held.copy(store);
    }
    window.base = keepFrom;
    return held.length;
  };

  const window: Window = {
    bytes: noBytes,
    base: 0,
    append(chunk) {
      if (keepFrom === window.base + window.bytes.length) {
        window.base = keepFrom;
        window.bytes = Buffer.from(chunk.buffer, chunk.byteOffset, chunk.length);
        isOwn = false;
        return;
      }
      const held = settleHeld(chunk.length);
      store.set(chunk, held);
      window.bytes = store.subarray(0, held + chunk.length);
      isOwn = true;
    },
    release(position) {
      keepFrom = position;
      // A chunk belongs to the caller again after this feeding; what is held of it moves into our own memory.
      if (isOwn || keepFrom === window.base + window.bytes.length) return;
      const held = settleHeld(0);
      window.bytes = store.subarray(0, held);
      isOwn = true;
    },
    cut(from, to) {
      const { bytes, base } = window;
      const before = bytes.subarray(keepFrom - base, from - base);
      const after = bytes.subarray(to - base);
      const held = before.length + after.length;
      const target = held > store.length ? largerStore(held, 0) : store;
      // Both move to the front, so neither is written over before it is copied.
      before.copy(target);
      after.copy(target, before.length);
      store = target;
      keepFrom += to - from;
      window.base = keepFrom;
      window.bytes = store.subarray(0, held);
      isOwn = true;
    },
  };
  return window;
}
