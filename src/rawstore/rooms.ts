/**
 * Memory for the pieces of large mails that another thread can see, used again and again.
 * Owns: a room for each large mail that came at the same time as others, for good: 1,000 connections fill at most 256 MB. One
 * that is let go stays until the collectors of both threads have met it, and they do not count this memory.
 */
export interface Rooms {
  take(): Buffer;
  /** Nobody reads or writes it any more. */
  giveBack(room: Buffer): void;
}

export function createRooms(roomBytes: number): Rooms {
  const free: Buffer[] = [];
  return {
    take: () => free.pop() ?? Buffer.from(new SharedArrayBuffer(roomBytes)),
    giveBack: (room) => void free.push(room),
  };
}
