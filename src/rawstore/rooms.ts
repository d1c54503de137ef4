import { freeMemory, type Rooms } from '../ports/gather.ts';

/** An ordinary mail. */
const SMALL_ROOM_BYTES = 16 * 1024;

/**
 * Memory that mails are gathered in, used again and again: rooms for ordinary mails, and rooms of `pieceBytes` for the
 * pieces of large ones, which another thread can see. What lies between is made for its mail and freed with it.
 * Owns: a room of either kind for each mail that came at the same time as others, for good: 1,000 connections fill at most
 * 256 MB. A shared one that is let go stays until the collectors of both threads have met it, and they do not count it.
 */
export function createRooms(pieceBytes: number): Rooms {
  const small: ArrayBuffer[] = [];
  const shared: SharedArrayBuffer[] = [];

  function reuse<T extends ArrayBufferLike>(free: T[], make: () => T): Buffer {
    return Buffer.from(free.pop() ?? make());
  }

  return {
    take(bytes) {
      if (bytes >= pieceBytes) return reuse(shared, () => new SharedArrayBuffer(pieceBytes));
      if (bytes > SMALL_ROOM_BYTES) return Buffer.allocUnsafeSlow(bytes);
      return reuse(small, () => new ArrayBuffer(SMALL_ROOM_BYTES));
    },
    giveBack(room) {
      const { buffer } = room;
      if (buffer instanceof SharedArrayBuffer) shared.push(buffer);
      else if (buffer.byteLength === SMALL_ROOM_BYTES) small.push(buffer);
      else freeMemory(room);
    },
  };
}
