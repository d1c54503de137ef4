/** Runs the engine without a socket and writes down what comes out of it. */
import assert from 'node:assert/strict';
import { type Answer, type Ending, Engine, type TlsPolicy } from '../engine.ts';
import { resolveLimits, type SmtpLimits } from '../limits.ts';
import { splitAt, splitRandomly } from './segments.ts';

export interface DialogueOptions {
  readonly limits?: Partial<SmtpLimits>;
  /** How the application answers; default: everything is done, mails are committed as `m1`. */
  readonly answer?: (step: 'begin' | 'recipient' | 'mail', address: string) => Answer;
  /** false: the application answers only when all segments are in. */
  readonly answersAtOnce?: boolean;
  readonly tls?: TlsPolicy;
  /** false: the greeting is still to come. */
  readonly greeted?: boolean;
}

export interface Dialogue {
  readonly engine: Engine;
  /** Replies as `250 2.0.0 OK`, events as `begin a@b`; body chunks are joined. */
  readonly log: readonly string[];
  /** The body chunks, not joined. */
  readonly pieces: readonly string[];
  /** How it was closed; the log tells only a cut. */
  readonly endings: readonly Ending[];
  /** Of each refusal: its code and the text that an observer is told, `500 WHAT`. */
  readonly refusals: readonly string[];
  send(segment: string | Buffer): void;
  /** Answers what is pending, and lets turns pass. */
  settle(): void;
}

export function openDialogue({
  limits,
  answer,
  answersAtOnce = true,
  greeted = true,
  tls,
}: DialogueOptions = {}): Dialogue {
  const log: string[] = [];
  const pieces: string[] = [];
  const endings: Ending[] = [];
  const refusals: string[] = [];
  const pending: (() => void)[] = [];
  let body = '';
  const ask = (step: 'begin' | 'recipient' | 'mail', address: string) => {
    const reply = answer?.(step, address) ?? (step === 'mail' ? { committed: 'm1' } : 'done');
    if (answersAtOnce) engine.answer(reply);
    else pending.push(() => engine.answer(reply));
  };
  const engine: Engine = new Engine({
    hostName: 'mx.example',
    sessionId: 's1',
    limits: resolveLimits(limits),
    ...(tls === undefined ? {} : { tls }),
    events: {
      reply(_condition, wire, _stage, _address, refusedText = null) {
        log.push(...wire.split('\r\n').slice(0, -1));
        if (wire[0] === '4' || wire[0] === '5') refusals.push(`${wire.slice(0, 3)} ${refusedText}`);
        else assert.equal(refusedText, null, wire);
      },
      passTurn: () => pending.push(() => engine.turnPassed()),
      beginTransaction(mail) {
        log.push(`begin ${mail.reversePath?.address ?? '<>'}`);
        ask('begin', mail.reversePath?.address ?? '');
      },
      addRecipient(recipient) {
        log.push(`recipient ${recipient.address}`);
        ask('recipient', recipient.address);
      },
      mailArrives() {},
      beginBody() {
        body = '';
        log.push('body begins');
      },
      bodyChunk: (chunk) => {
        body += chunk.toString('latin1');
        pieces.push(chunk.toString('latin1'));
      },
      endBody() {
        log.push(`body ends ${JSON.stringify(body)}`);
        ask('mail', '');
      },
      startTls: () => log.push('handshake'),
      abandonTransaction: (reason) => log.push(`abandon ${reason}`),
      close(ending) {
        endings.push(ending);
        log.push(ending === 'cut' ? 'cut' : 'close');
      },
    },
  });
  if (greeted) engine.greet();
  const settle = () => {
    for (let step = pending.shift(); step !== undefined; step = pending.shift()) step();
  };
  return {
    engine,
    log,
    endings,
    refusals,
    pieces,
    settle,
    send(segment) {
      // A copy: the engine may write into what it is given.
      engine.receive(Buffer.from(typeof segment === 'string' ? Buffer.from(segment, 'latin1') : segment));
      if (answersAtOnce) settle();
    },
  };
}

/** The whole log of one conversation. */
export function converse(segments: readonly (string | Buffer)[], options: DialogueOptions = {}): string[] {
  const dialogue = openDialogue(options);
  for (const segment of segments) dialogue.send(segment);
  dialogue.settle();
  return [...dialogue.log];
}

/** Whole, byte by byte and at random cuts. After the greeting; only the beginning of each expected entry counts. */
export function assertInEverySegmentation(
  bytes: Buffer,
  expected: readonly string[],
  options: DialogueOptions = {},
): void {
  for (const answersAtOnce of [true, false]) {
    const how = { ...options, answersAtOnce };
    assertBegins(converse([bytes], how), expected, `whole, answers at once: ${answersAtOnce}`);
    assertBegins(converse(splitAt(bytes, [...bytes.keys()]), how), expected, 'byte by byte');
    for (let seed = 0; seed < 20; seed++)
      assertBegins(converse(splitRandomly(bytes, seed), how), expected, `random cuts ${seed}`);
  }
}

function assertBegins(log: readonly string[], expected: readonly string[], how: string): void {
  const wanted = ['220 mx.example ESMTP', ...expected];
  const shown = wanted.map((start, index) => (log[index]?.startsWith(start) ? log[index] : start));
  assert.deepEqual(log, shown, how);
}
