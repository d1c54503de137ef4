/** The HTTP side: health, readiness and metrics now; the API and the console register beside them later. */
import { type FastifyInstance, type FastifyReply, fastify } from 'fastify';
import type { Log } from '../telemetry/log.ts';
import type { Metrics } from '../telemetry/metrics.ts';
import { boundConnections, type ConnectionBounds, defaultBounds } from './connection-bounds.ts';
import { keptFor } from './kept-answer.ts';
import { listenError } from './listen-error.ts';
import { type Checks, createReadiness, type Details } from './readiness.ts';

export interface HttpServerOptions {
  readonly host: string;
  /** 0 asks the operating system for a free one (tests). */
  readonly port: number;
  readonly log: Log;
  readonly metrics: Metrics;
  readonly checks: Checks;
  /** See `ReadinessOptions`. */
  readonly toldOnly?: readonly string[];
  /** See `ReadinessOptions`. */
  readonly details?: Readonly<Record<string, Details>>;
  readonly checkDeadlineMs?: number;
  readonly connectionBounds?: ConnectionBounds;
}

export interface HttpServer {
  /** Errors: `ListenError` when the address cannot be had. */
  listen(): Promise<{ readonly host: string; readonly port: number }>;
  /** Resolves when no connection is left; those that linger are cut. */
  close(): Promise<void>;
}

/** Kubernetes waits one second for a probe by default, Prometheus ten for a scrape. */
const defaultCheckDeadlineMs = 900;
/** A client that does not finish its request in this time is cut. */
const requestDeadlineMs = 10_000;
const closeGraceMs = 2_000;
const maxBodyBytes = 64 * 1024;
/** A scrape asks the database, the disk and the other processes; whoever scrapes without end must cost no more than one a second. */
const metricsMaxAgeMs = 1_000;

const securityHeaders = {
  'x-content-type-options': 'nosniff',
  'x-frame-options': 'DENY',
  'referrer-policy': 'no-referrer',
  'cross-origin-resource-policy': 'same-origin',
  'content-security-policy': "default-src 'none'; frame-ancestors 'none'",
  'cache-control': 'no-store',
} as const;

export function createHttpServer(options: HttpServerOptions): HttpServer {
  const app = createApp(options.log);
  registerHealth(app, options);
  boundConnections({ server: app.server, bounds: options.connectionBounds ?? defaultBounds, log: options.log });
  return {
    async listen() {
      try {
        await app.listen({ host: options.host, port: options.port });
      } catch (error) {
        await app.close();
        throw listenError(error, options);
      }
      const address = app.server.address();
      const port = typeof address === 'object' && address !== null ? address.port : options.port;
      return { host: options.host, port };
    },
    async close() {
      const cut = setTimeout(() => app.server.closeAllConnections(), closeGraceMs);
      try {
        await app.close();
      } finally {
        clearTimeout(cut);
      }
    },
  };
}

function registerHealth(app: FastifyInstance, options: HttpServerOptions): void {
  const readiness = createReadiness({
    checks: options.checks,
    toldOnly: options.toldOnly ?? [],
    details: options.details ?? {},
    deadlineMs: options.checkDeadlineMs ?? defaultCheckDeadlineMs,
    log: options.log,
  });
  app.get('/healthz', async () => ({ status: 'ok' }));
  app.get('/readyz', async (_request, reply) => {
    const { ready, checks } = await readiness();
    return await reply.code(ready ? 200 : 503).send({ status: ready ? 'ready' : 'not ready', checks });
  });
  app.get<{ Params: { part: string } }>('/readyz/:part', async ({ params: { part } }, reply) => {
    if (!Object.hasOwn(options.checks, part)) return refuse(reply, 404);
    const readinessOfPart = (await readiness()).checks[part];
    return await reply.code(readinessOfPart?.ready ? 200 : 503).send(readinessOfPart);
  });
  const scrape = keptFor(metricsMaxAgeMs, async () => {
    options.metrics.readiness((await readiness()).checks);
    return await options.metrics.scrape();
  });
  app.get('/metrics', async (_request, reply) => {
    const { contentType, text } = await scrape();
    return await reply.type(contentType).send(text);
  });
}

/** Fastify without its own voice: no request log, no framework codes and no stack in an answer. */
function createApp(log: Log): FastifyInstance {
  const app = fastify({
    logger: false,
    bodyLimit: maxBodyBytes,
    requestTimeout: requestDeadlineMs,
    connectionTimeout: 2 * requestDeadlineMs,
    forceCloseConnections: 'idle',
    return503OnClosing: false,
    frameworkErrors: (_error, _request, reply) => refuse(reply, 400),
    clientErrorHandler: (_error, socket) => {
      if (socket.writable) socket.end('HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n');
      else socket.destroy();
    },
  });
  app.addHook('onRequest', async (_request, reply) => {
    reply.headers(securityHeaders);
  });
  app.setNotFoundHandler((_request, reply) => refuse(reply, 404));
  app.setErrorHandler((error: { statusCode?: number }, request, reply) => {
    const status = error.statusCode !== undefined && error.statusCode < 500 ? error.statusCode : 500;
    if (status === 500)
      log.error({ err: error, method: request.method, route: request.routeOptions.url }, 'HTTP request failed');
    return refuse(reply, status);
  });
  return app;
}

const words: Readonly<Record<number, string>> = {
  400: 'bad request',
  404: 'not found',
  408: 'request took too long',
  413: 'body too large',
  415: 'media type not supported',
};

function refuse(reply: FastifyReply, status: number): FastifyReply {
  const error = words[status] ?? (status < 500 ? 'bad request' : 'internal error');
  return reply.headers(securityHeaders).code(status).send({ error });
}
