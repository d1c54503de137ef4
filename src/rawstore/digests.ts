/**
 * The two digests of a mail: of all its bytes, and of what follows its header block.
 *
 * Small mails are hashed where they are. The digests of a large one take longer than anything else that is done with its
 * bytes, so a thread of its own hashes each piece while the store writes it; the piece lies in memory both can see.
 */
import { createHash, type Hash, hash } from 'node:crypto';
import { fileURLToPath } from 'node:url';
import { Worker } from 'node:worker_threads';

export interface MailDigests {
  /** Units: lower-case hex. */
  readonly rawSha256: string;
  readonly contentSha256: string;
}

export interface MailHasher {
  /**
   * The next piece; its first `contentFrom` bytes are header.
   * Owns: the piece is not to be written over before it resolves.
   * Errors: rejects when the thread has ended.
   */
  update(piece: Uint8Array, contentFrom: number): Promise<void>;
  /** Once, after the last piece. */
  finish(): Promise<MailDigests>;
  /** Instead of `finish`, when the mail does not arrive whole. Safe to call after everything. */
  abandon(): void;
}

/** Of a mail that is there whole; its first `contentFrom` bytes are header. */
export function digestsOf(mail: Uint8Array, contentFrom: number): MailDigests {
  return { rawSha256: hash('sha256', mail), contentSha256: hash('sha256', mail.subarray(contentFrom)) };
}

/** Piece by piece, on the thread that calls it. */
export function createHashes() {
  const raw: Hash = createHash('sha256');
  const content: Hash = createHash('sha256');
  return {
    update(piece: Uint8Array, contentFrom: number): void {
      raw.update(piece);
      if (contentFrom < piece.length) content.update(contentFrom === 0 ? piece : piece.subarray(contentFrom));
    },
    finish: (): MailDigests => ({ rawSha256: raw.digest('hex'), contentSha256: content.digest('hex') }),
  };
}

/** What the thread is sent. A mail begins with its first piece and ends with `finish` or `abandon`. */
export type ToThread =
  | { readonly mail: number; readonly piece: Uint8Array; readonly contentFrom: number }
  | { readonly mail: number; readonly end: 'finish' | 'abandon' };

/** One answer for each message but `abandon`, in order. */
export type FromThread = MailDigests | null;

interface Asked {
  resolve(answer: FromThread): void;
  reject(error: Error): void;
}

/**
 * A thread for all large mails, started by the first one. When it ends, the mails it was hashing fail, and the next mail
 * starts another. Owns: the thread, which does not keep the process alive.
 */
export function createHashThread(start: () => Worker = startThread): { begin(): MailHasher } {
  let current: HashThread | null = null;
  let lastMail = 0;

  return {
    begin() {
      current = current?.lives === true ? current : openThread(start());
      return createMailHasher(current, ++lastMail);
    },
  };
}

interface HashThread {
  readonly lives: boolean;
  /** Errors: rejects when the thread has ended, also when it had before. */
  ask(message: ToThread): Promise<FromThread>;
  tell(message: ToThread): void;
}

function openThread(worker: Worker): HashThread {
  const asked: Asked[] = [];
  let fault: Error | null = null;
  worker.on('message', (answer: FromThread) => asked.shift()?.resolve(answer));
  const ended = (error: Error): void => {
    fault ??= error;
    for (const one of asked.splice(0)) one.reject(error);
  };
  worker.on('error', (error) => ended(error as Error));
  worker.on('exit', () => ended(new Error('the thread that hashes mails has ended')));
  // After the listeners: one for messages would keep the process alive.
  worker.unref();
  return {
    get lives() {
      return fault === null;
    },
    ask: (message) =>
      new Promise((resolve, reject) => {
        if (fault !== null) return reject(fault);
        asked.push({ resolve, reject });
        worker.postMessage(message);
      }),
    tell: (message) => worker.postMessage(message),
  };
}

/** All pieces of a mail go to one thread: another one would hash only what came after the first had ended. */
function createMailHasher(thread: HashThread, mail: number): MailHasher {
  let ended = false;
  return {
    async update(piece, contentFrom) {
      await thread.ask({ mail, piece, contentFrom });
    },
    async finish() {
      ended = true;
      const digests = await thread.ask({ mail, end: 'finish' });
      if (digests === null) throw new Error('the thread that hashes mails does not know this one');
      return digests;
    },
    abandon() {
      if (!ended) thread.tell({ mail, end: 'abandon' });
      ended = true;
    },
  };
}

function startThread(): Worker {
  return new Worker(threadFile(), { name: 'mail-digests' });
}

/** A package has JavaScript only. */
function threadFile(): string {
  const here = fileURLToPath(import.meta.url);
  return here.replace(/digests\.([jt]s)$/, 'digest-thread.$1');
}
