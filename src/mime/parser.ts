/** The engine without any I/O: bytes of a mail in pieces of any size go in, events come out. */
import { createLineEndFilter } from './bare-returns.ts';
import { createEntityReader, type EntityReader, mailPlace, type ReaderContext } from './entity-reader.ts';
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
  return new Parser(resolveLimits(options.limits));
}

class Parser implements MimeParser {
  private readonly context: ReaderContext;
  private readonly mail: EntityReader;
  private readonly lineEnds = createLineEndFilter();
  private ended = false;

  constructor(limits: MimeLimits) {
    this.context = { limits, arena: createArena(), events: [], parts: 0, textCharset: null, stopped: false };
    this.mail = createEntityReader(this.context, mailPlace);
  }

  get stopped(): boolean {
    return this.context.stopped;
  }

  push(chunk: Uint8Array): readonly MailEvent[] {
    this.begin();
    if (!this.context.stopped) this.mail.push(this.lineEnds.push(chunk));
    return this.context.events;
  }

  end(): readonly MailEvent[] {
    this.begin();
    this.ended = true;
    if (!this.context.stopped) {
      this.mail.push(this.lineEnds.end());
      this.mail.end();
    }
    this.context.events.push({ type: 'end', defects: [] });
    return this.context.events;
  }

  /** What the events so far pointed to may be written over from here on. */
  private begin(): void {
    if (this.ended) throw new MimeError('parser-ended', 'the mail has ended');
    this.context.arena.reset();
    this.context.events = [];
  }
}
