/** The other end of OTLP over HTTP with JSON: what a collector would be told. Spec: OpenTelemetry Protocol 1.x, OTLP/HTTP */
import { once } from 'node:events';
import { createServer, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { buffer } from 'node:stream/consumers';
import type { TestContext } from 'node:test';
import { gunzipSync } from 'node:zlib';
import { cleanUp } from './clean-up.ts';

export interface ReceivedSpan {
  readonly traceId: string;
  readonly spanId: string;
  /** Empty: the first of its trace. */
  readonly parentSpanId: string;
  readonly name: string;
  readonly kind: number;
  /** 2 is an error. */
  readonly status: { readonly code?: number; readonly message?: string };
  readonly attributes: Readonly<Record<string, unknown>>;
  readonly links: readonly { readonly traceId: string; readonly spanId: string }[];
  readonly resource: Readonly<Record<string, unknown>>;
  readonly durationMs: number;
}

export interface OtlpReceiver {
  /** For OTEL_EXPORTER_OTLP_ENDPOINT. */
  readonly url: string;
  readonly spans: readonly ReceivedSpan[];
  /** Of each request. */
  readonly headers: readonly IncomingMessage['headers'][];
  /** From now on it answers with this; null: not at all. */
  answer(status: number | null): void;
  /** The only one of that name. Errors: throws when there is none, or another. */
  span(name: string, where?: Partial<ReceivedSpan>): ReceivedSpan;
}

export async function startOtlpReceiver(t: TestContext): Promise<OtlpReceiver> {
  const spans: ReceivedSpan[] = [];
  const headers: IncomingMessage['headers'][] = [];
  let status: number | null = 200;
  const server = createServer(async (request, response) => {
    const body = await buffer(request).catch(() => null);
    // Whoever sent it has gone, or the test is over.
    if (body === null) return;
    headers.push(request.headers);
    if (status === null) return;
    const isTraces = request.method === 'POST' && request.url === '/v1/traces';
    const isPacked = request.headers['content-encoding'] === 'gzip';
    if (isTraces && status === 200) spans.push(...decode((isPacked ? gunzipSync(body) : body).toString()));
    response.writeHead(isTraces ? status : 404, { 'content-type': 'application/json' }).end('{}');
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  cleanUp(t, async () => {
    server.close();
    server.closeAllConnections();
  });
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    spans,
    headers,
    answer: (next) => {
      status = next;
    },
    span(name, where = {}) {
      const wanted = Object.entries({ ...where, name });
      const found = spans.filter((span) => wanted.every(([key, value]) => span[key as keyof ReceivedSpan] === value));
      const [first] = found;
      if (first === undefined || found.length > 1) throw new Error(`${found.length} spans ${JSON.stringify(wanted)}`);
      return first;
    },
  };
}

interface Body {
  readonly resourceSpans: readonly {
    readonly resource: { readonly attributes: readonly KeyValue[] };
    readonly scopeSpans: readonly { readonly spans: readonly WireSpan[] }[];
  }[];
}

interface WireSpan extends Omit<ReceivedSpan, 'attributes' | 'resource'> {
  readonly attributes: readonly KeyValue[];
  readonly startTimeUnixNano: string;
  readonly endTimeUnixNano: string;
}

interface KeyValue {
  readonly key: string;
  readonly value: Value;
}
type Value = Readonly<Record<string, unknown>> & { readonly arrayValue?: { readonly values: readonly Value[] } };

function decode(body: string): readonly ReceivedSpan[] {
  return (JSON.parse(body) as Body).resourceSpans.flatMap(({ resource, scopeSpans }) =>
    scopeSpans.flatMap(({ spans }) =>
      spans.map((span) => ({
        ...span,
        parentSpanId: span.parentSpanId ?? '',
        links: span.links ?? [],
        attributes: attributesOf(span.attributes),
        resource: attributesOf(resource.attributes),
        durationMs: Number(BigInt(span.endTimeUnixNano) - BigInt(span.startTimeUnixNano)) / 1e6,
      })),
    ),
  );
}

const attributesOf = (list: readonly KeyValue[]) =>
  Object.fromEntries(list.map(({ key, value }) => [key, plain(value)]));

function plain(value: Value): unknown {
  if (value.arrayValue !== undefined) return value.arrayValue.values.map(plain);
  return Object.values(value)[0];
}
