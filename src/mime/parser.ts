/** The engine without any I/O: bytes of a mail in pieces of any size go in, events come out. */
import { createLineEndFilter } from './bare-returns.ts';
import { createEntityReader, mailPlace, type ReaderContext } from './entity-reader.ts';
import { MimeError } from './errors.ts';
import { resolveLimits } from './limits.ts';
import { createArena } from './transfer/decoder.ts';
import type { MailEvent, MimeLimits } from './types.ts';

export interface MimeParser {
  /** Owns: the bytes in the events are good until the parser is fed again; `chunk` is not kept. */
  push(chunk: Uint8Array): readonly MailEvent[];
  /** The last events; `end` is the very last. Errors: `parser-ended` from here on, for both. */
  end(): readonly MailEvent[];
  /** True once a limit was reached: there is no need to read on. */
  readonly stopped: boolean;
}

/** Errors: `invalid-limit`. */
export function createMimeParser(options: { readonly limits?: Partial<MimeLimits> } = {}): MimeParser {
  const context: ReaderContext = {
    limits: resolveLimits(options.limits),
    arena: createArena(),
    events: [],
    parts: 0,
    stopped: false,
  };
  const mail = createEntityReader(context, mailPlace);
  const lineEnds = createLineEndFilter();
  let ended = false;
  const feed = (work: () => void): readonly MailEvent[] => {
    if (ended) throw new MimeError('parser-ended', 'the mail has ended');
    context.arena.reset();
    context.events = [];
    if (!context.stopped) work();
    return context.events;
  };
  return {
    push: (chunk) => feed(() => mail.push(lineEnds.push(chunk))),
    end: () => {
      const events = feed(() => {
        mail.push(lineEnds.end());
        mail.end();
      });
      ended = true;
      return [...events, { type: 'end', defects: [] }];
    },
    get stopped() {
      return context.stopped;
    },
  };
}
