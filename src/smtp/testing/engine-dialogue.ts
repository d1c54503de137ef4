/** Runs the engine without a socket and writes down what comes out of it. */
import { type Answer, Engine, type TlsPolicy } from '../engine.ts';
import { resolveLimits, type SmtpLimits } from '../limits.ts';

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
      reply: (_, wire) => log.push(...wire.split('\r\n').slice(0, -1)),
      passTurn: () => pending.push(() => engine.turnPassed()),
      beginTransaction(mail) {
        log.push(`begin ${mail.reversePath?.address ?? '<>'}`);
        ask('begin', mail.reversePath?.address ?? '');
      },
      addRecipient(recipient) {
        log.push(`recipient ${recipient.address}`);
        ask('recipient', recipient.address);
      },
      beginBody() {
        body = '';
        log.push('body begins');
      },
      bodyChunk: (chunk) => {
        body += chunk.toString('latin1');
      },
      endBody() {
        log.push(`body ends ${JSON.stringify(body)}`);
        ask('mail', '');
      },
      startTls: () => log.push('handshake'),
      abandonTransaction: (reason) => log.push(`abandon ${reason}`),
      close: (cut) => log.push(cut ? 'cut' : 'close'),
    },
  });
  if (greeted) engine.greet();
  const settle = () => {
    for (let step = pending.shift(); step !== undefined; step = pending.shift()) step();
  };
  return {
    engine,
    log,
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
