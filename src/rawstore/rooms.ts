/** Memory for the pieces of large mails that another thread can see, used again and again. */
const MAX_KEPT_ROOMS = 64;

export interface Rooms {
  take(): Buffer;
  /** Nobody reads or writes it any more. */
  giveBack(room: Buffer): void;
}

export function createRooms(roomBytes: number): Rooms {
  const kept: Buffer[] = [];
  return {
    take: () => kept.pop() ?? Buffer.from(new SharedArrayBuffer(roomBytes)),
    giveBack(room) {
      if (kept.length < MAX_KEPT_ROOMS) kept.push(room);
    },
  };
}
