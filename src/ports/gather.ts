/** Room for an ordinary mail's head and a short body; larger mails double it until the bound. */
const FIRST_ROOM_BYTES = 16 * 1024;

/** Where pieces are gathered. */
export interface Rooms {
  /** Shape: as long as asked for, or longer. */
  take(bytes: number): Buffer;
  /** Nobody reads or writes it any more. Shape: a room, or a view of one. */
  giveBack(room: Uint8Array): void;
}

const ownRooms: Rooms = { take: (bytes) => Buffer.allocUnsafeSlow(bytes), giveBack: freeMemory };

/** Bytes that are copied where the reader wants them. */
export interface ByteReader {
  /** Shape: how many bytes were written into it; 0 at the end. */
  read(into: Uint8Array): Promise<number>;
  /** No more is wanted: a read under way writes nothing any more. */
  cancel(): void;
}

/**
 * Bytes in, pieces worth a system call out: all but the last hold `pieceBytes`, of chunks at least as many, and a stream
 * shorter than that is one piece.
 *
 * Owns: small chunks are copied, so that what a chunk is cut from (a 64 KiB socket read behind ten bytes) is not kept
 * alive and a producer may write over a chunk once the next was asked for. A piece is good until the next is asked for;
 * one that is the whole stream is its reader's, with its room.
 * Holds at most `pieceBytes` beside the producer's chunk; asks for more only after the last piece was taken.
 * Errors: rethrows the producer's; throws the signal's reason, also while the producer hangs.
 */
export function gather(
  source: AsyncIterable<Uint8Array> | ByteReader,
  pieceBytes: number,
  signal?: AbortSignal,
  rooms: Rooms = ownRooms,
): AsyncGenerator<Uint8Array, void, undefined> {
  return isByteReader(source)
    ? gatherRead(source, pieceBytes, signal, rooms)
    : gatherChunks(signal === undefined ? source : untilAborted(source, signal), pieceBytes, rooms);
}

/** A stream of Node's has a `read` of its own. */
const isByteReader = (source: AsyncIterable<Uint8Array> | ByteReader): source is ByteReader =>
  'read' in source && 'cancel' in source;

async function* gatherRead(
  source: ByteReader,
  pieceBytes: number,
  signal: AbortSignal | undefined,
  rooms: Rooms,
): AsyncGenerator<Uint8Array, void, undefined> {
  const read = signal === undefined ? source.read.bind(source) : readUntilAborted(source, signal);
  let room = rooms.take(Math.min(FIRST_ROOM_BYTES, pieceBytes)).subarray(0, pieceBytes);
  let filled = 0;
  let several = false;
  let ended = false;
  try {
    for (;;) {
      const count = await read(filled === 0 ? room : room.subarray(filled));
      if (count === 0) break;
      filled += count;
      if (filled < room.length) continue;
      if (room.length < pieceBytes) {
        room = withRoomFor(room, filled, room.length + 1, pieceBytes, rooms);
        continue;
      }
      several = true;
      yield room;
      filled = 0;
    }
    ended = true;
  } finally {
    if (!ended) source.cancel();
  }
  if (filled > 0) yield room.subarray(0, filled);
  // Only here: where its reader left early, the last piece may still be on its way to the disk.
  if (several || filled === 0) rooms.giveBack(room);
}

/** An abort ends the wait for a read at once. One listener for all reads: adding one costs as much as a read. */
function readUntilAborted(source: ByteReader, signal: AbortSignal): (into: Uint8Array) => Promise<number> {
  let giveUpWaiting: ((reason: unknown) => void) | null = null;
  const onAbort = () => giveUpWaiting?.(signal.reason);
  signal.addEventListener('abort', onAbort);
  return (into) =>
    new Promise((resolve, reject) => {
      const fail = (reason: unknown): void => {
        signal.removeEventListener('abort', onAbort);
        reject(reason);
      };
      if (signal.aborted) return fail(signal.reason);
      giveUpWaiting = fail;
      source.read(into).then((count) => {
        if (count === 0) signal.removeEventListener('abort', onAbort);
        resolve(count);
      }, fail);
    });
}

async function* gatherChunks(
  chunks: AsyncIterable<Uint8Array>,
  pieceBytes: number,
  rooms: Rooms,
): AsyncGenerator<Uint8Array, void, undefined> {
  let room: Buffer = Buffer.alloc(0);
  let filled = 0;
  let several = false;
  for await (const chunk of chunks) {
    if (filled === 0 && chunk.length >= pieceBytes) {
      several = true;
      yield chunk;
      continue;
    }
    for (let taken = 0; taken < chunk.length; ) {
      const count = Math.min(chunk.length - taken, pieceBytes - filled);
      room = withRoomFor(room, filled, filled + count, pieceBytes, rooms);
      room.set(chunk.subarray(taken, taken + count), filled);
      taken += count;
      filled += count;
      if (filled === pieceBytes) {
        several = true;
        yield room;
        filled = 0;
      }
    }
  }
  if (filled > 0) yield room.subarray(0, filled);
  // Only here: where its reader left early, the last piece may still be on its way to the disk.
  if (several) rooms.giveBack(room);
}

function withRoomFor(room: Buffer, filled: number, wantedBytes: number, maxBytes: number, rooms: Rooms) {
  if (wantedBytes <= room.length) return room;
  const doubled = Math.max(wantedBytes, room.length * 2, FIRST_ROOM_BYTES);
  const larger = rooms.take(Math.min(doubled, maxBytes)).subarray(0, maxBytes);
  room.copy(larger, 0, 0, filled);
  if (room.length > 0) rooms.giveBack(room);
  return larger;
}

/**
 * Gives memory back now, and not when the collector finds out: it counts these bytes, and would search the whole heap to
 * learn that nobody holds them. What was given back reads as empty; nobody may be reading or writing it.
 */
export function freeMemory(bytes: Uint8Array): void {
  const { buffer } = bytes;
  if (buffer instanceof ArrayBuffer && buffer.byteLength > 0) buffer.transfer(0);
}

/**
 * The same chunks, but an abort ends the wait for the next one at once.
 * A producer that hangs cannot be waited for: its `return` is called and not awaited. By hand, because a generator would
 * cost each chunk some turns of the promise queue.
 */
function untilAborted(chunks: AsyncIterable<Uint8Array>, signal: AbortSignal): AsyncIterable<Uint8Array> {
  const producer = chunks[Symbol.asyncIterator]();
  let giveUpWaiting: ((reason: unknown) => void) | null = null;
  const onAbort = () => giveUpWaiting?.(signal.reason);
  // One listener for all chunks: adding one costs as much as a chunk.
  signal.addEventListener('abort', onAbort);

  async function leave(): Promise<IteratorResult<Uint8Array, undefined>> {
    signal.removeEventListener('abort', onAbort);
    Promise.resolve(producer.return?.()).catch(() => {});
    return { done: true, value: undefined };
  }

  const next = () =>
    new Promise<IteratorResult<Uint8Array, undefined>>((resolve, reject) => {
      const fail = (reason: unknown): void => {
        void leave();
        reject(reason);
      };
      if (signal.aborted) return fail(signal.reason);
      giveUpWaiting = fail;
      producer.next().then((result) => {
        if (result.done === true) signal.removeEventListener('abort', onAbort);
        resolve(result);
      }, fail);
    });

  return { [Symbol.asyncIterator]: () => ({ next, return: leave }) };
}
