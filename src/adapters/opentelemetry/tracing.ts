/** Spans by the OpenTelemetry SDK. Nothing is registered globally, and no context follows asynchronous calls. */
import {
  type Attributes,
  type Context,
  isSpanContextValid,
  ROOT_CONTEXT,
  type Span,
  type SpanContext,
  SpanKind,
  SpanStatusCode,
  type Tracer,
  trace,
} from '@opentelemetry/api';
import {
  type IdGenerator,
  RandomIdGenerator,
  TracerProvider,
  type TracerProviderOptions,
} from '@opentelemetry/sdk-trace';
import type { SpanAttributes, TracedJob, TraceSpan, Tracing } from '../../telemetry/tracing.ts';

/** One line of a trace viewer. */
const MAX_STATUS_CHARACTERS = 300;

export interface OpenedTracing extends Tracing {
  /** Sends what is left. */
  shutdown(): Promise<void>;
}

export function createTracing(o: {
  readonly version: string;
  readonly provider: Omit<TracerProviderOptions, 'idGenerator'>;
}): OpenedTracing {
  const ids = createIdGenerator();
  const provider = new TracerProvider({ ...o.provider, idGenerator: ids });
  const tracer = provider.getTracer('orderflow-ingest', o.version);
  /** As many as there are connections. */
  const connections = new Map<string, Span>();

  /** Without a parent that can be read, the first span of that trace. */
  const startForJob = (name: string, kind: SpanKind, job: TracedJob, attributes: Attributes): TraceSpan => {
    const parent = parentOf(job);
    const context = parent === null ? ROOT_CONTEXT : trace.setSpanContext(ROOT_CONTEXT, parent);
    return ids.within(job.traceId, () => spanOf(tracer, tracer.startSpan(name, { kind, attributes }, context)));
  };

  return {
    connectionOpened({ sessionId, remoteAddress, remotePort }) {
      const attributes = {
        'client.address': remoteAddress,
        'client.port': remotePort,
        'network.protocol.name': 'smtp',
        'orderflow.session_id': sessionId,
      };
      connections.set(
        sessionId,
        tracer.startSpan('smtp connection', { kind: SpanKind.SERVER, attributes }, ROOT_CONTEXT),
      );
    },
    connectionClosed({ sessionId }, attributes) {
      connections.get(sessionId)?.setAttributes(copied(attributes)).end();
      connections.delete(sessionId);
    },
    transaction({ traceId, sessionId }) {
      const connection = connections.get(sessionId);
      const options = {
        kind: SpanKind.SERVER,
        attributes: { 'network.protocol.name': 'smtp', 'orderflow.session_id': sessionId },
        ...(connection !== undefined && { links: [{ context: connection.spanContext() }] }),
      };
      return ids.within(traceId, () => spanOf(tracer, tracer.startSpan('smtp transaction', options, ROOT_CONTEXT)));
    },
    jobRun(task, job, attributes) {
      const facts = messaging('process', task, 'graphile_worker');
      return startForJob(`process ${task}`, SpanKind.CONSUMER, job, { ...facts, ...copied(attributes) });
    },
    publication: (task, job) =>
      startForJob(`publish ${task}`, SpanKind.PRODUCER, job, messaging('send', task, 'bullmq')),
    shutdown: () => provider.shutdown(),
  };
}

/** Spec: OpenTelemetry semantic conventions, messaging spans. */
const messaging = (operation: 'process' | 'send', task: string, system: string): Attributes => ({
  'messaging.system': system,
  'messaging.operation.name': operation,
  'messaging.operation.type': operation,
  'messaging.destination.name': task,
});

function spanOf(tracer: Tracer, span: Span): TraceSpan {
  const context: Context = trace.setSpan(ROOT_CONTEXT, span);
  let ended = false;
  return {
    traceparent: traceparentOf(span.spanContext()),
    child: (name, attributes = {}) =>
      spanOf(tracer, tracer.startSpan(name, { attributes: copied(attributes) }, context)),
    set(attributes) {
      if (!ended) span.setAttributes(copied(attributes));
    },
    fail(error) {
      if (ended) return;
      span.setAttribute('error.type', errorType(error));
      span.setStatus({ code: SpanStatusCode.ERROR, message: errorMessage(error) });
    },
    end() {
      if (!ended) span.end();
      ended = true;
    },
  };
}

interface TraceIdGenerator extends IdGenerator {
  /** A span that is started inside and has no parent begins the trace of that id. */
  within<T>(traceId: string, start: () => T): T;
}

/**
 * The id is in the log and in the row already when the span starts. A made-up parent of that id would do too, but then every
 * trace looks as if its beginning were missing. Starting a span is synchronous, so nothing comes in between.
 */
function createIdGenerator(): TraceIdGenerator {
  const random = new RandomIdGenerator();
  let wanted: string | null = null;
  return {
    generateTraceId: () => wanted ?? random.generateTraceId(),
    generateSpanId: () => random.generateSpanId(),
    within(traceId, start) {
      wanted = isTraceId(traceId) ? traceId : null;
      try {
        return start();
      } finally {
        wanted = null;
      }
    },
  };
}

const isTraceId = (text: string): boolean => /^(?!0+$)[0-9a-f]{32}$/.test(text);

/** Spec: W3C Trace Context §3.2.2. Version 00 only: it is our own. */
function parentOf({ traceId, traceparent }: TracedJob): SpanContext | null {
  if (typeof traceparent !== 'string') return null;
  const [, ofTrace, spanId, flags] = /^00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})$/.exec(traceparent) ?? [];
  if (ofTrace === undefined || spanId === undefined || flags === undefined || ofTrace !== traceId) return null;
  const parent = { traceId, spanId, traceFlags: Number.parseInt(flags, 16), isRemote: true };
  return isSpanContextValid(parent) ? parent : null;
}

const traceparentOf = ({ traceId, spanId, traceFlags }: SpanContext): string =>
  `00-${traceId}-${spanId}-${traceFlags.toString(16).padStart(2, '0')}`;

function copied(attributes: SpanAttributes): Attributes {
  return Object.fromEntries(
    Object.entries(attributes).map(([name, value]) => [name, Array.isArray(value) ? [...value] : value]),
  ) as Attributes;
}

/** Low in number: a code where there is one, else the class. */
function errorType(error: unknown): string {
  const { code, name } = Object(error) as { code?: unknown; name?: unknown };
  return [code, name].find((word) => typeof word === 'string') ?? '_OTHER';
}

function errorMessage(error: unknown): string {
  const { message } = Object(error) as { message?: unknown };
  return String(message ?? error).slice(0, MAX_STATUS_CHARACTERS);
}
