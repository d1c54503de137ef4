/**
 * Spans of the way of a mail, handed on by hand: nothing follows asynchronous calls behind our backs. Whoever gets no
 * `Tracing` or no span does nothing at all, so that tracing costs nothing where it is off.
 * Never mail content, and no address but the client's: spans leave the house, often for somebody else's.
 */

export type SpanAttributes = Readonly<Record<string, string | number | boolean | readonly string[]>>;

export interface TraceSpan {
  /** For the payload of a job, which goes on from here. Spec: W3C Trace Context §3.2 */
  readonly traceparent: string;
  /** Begins now, inside this one. */
  child(name: string, attributes?: SpanAttributes): TraceSpan;
  set(attributes: SpanAttributes): void;
  /** What the log tells as an error or a fault of ours, not the refusal of a mail. Does not end the span. */
  fail(error: unknown): void;
  /** The first call counts; a span that is not ended is never told of. */
  end(): void;
}

export interface Tracing {
  /** A trace of its own: several mails of one connection are several traces. */
  connectionOpened(session: TracedSession): void;
  connectionClosed(session: TracedSession, attributes: SpanAttributes): void;
  /** The first span of the trace `traceId`, with a link to its connection. Units: 32 lower-case hex, not all zero. */
  transaction(o: { readonly traceId: string; readonly sessionId: string }): TraceSpan;
  /** A run of a job of ours. */
  jobRun(task: string, job: TracedJob, attributes: SpanAttributes): TraceSpan;
  /** The hand-over of a job to another queue. */
  publication(task: string, job: TracedJob): TraceSpan;
}

export interface TracedSession {
  readonly sessionId: string;
  readonly remoteAddress: string;
  readonly remotePort: number;
}

/** As its payload says. Its trace is `traceId` in any case; `traceparent` counts when it is of that trace. */
export interface TracedJob {
  readonly traceId: string;
  readonly traceparent?: unknown;
}
