/** Are our ports free, or taken by ourselves, or by somebody else? */
import { createServer } from 'node:net';
import { type Endpoint, reachable, endpointText as where } from '../cli/endpoint.ts';
import { broken, type Finding, ok, warning } from '../ports/finding.ts';
import { readGreeting } from './greeting.ts';

const ASK_TIMEOUT_MS = 3_000;

export async function checkSmtpPort(endpoint: Endpoint): Promise<Finding> {
  const ours = async () => ((await readGreeting(endpoint)).ours ? ok('smtp port', `${our(endpoint)}`) : null);
  return checkPort('smtp port', 'SMTP_HOST, SMTP_PORT', endpoint, ours);
}

export async function checkHttpPort(endpoint: Endpoint): Promise<Finding> {
  return checkPort('http port', 'HTTP_HOST, HTTP_PORT', endpoint, () => askReadiness(endpoint));
}

/** Two servers on one port: the second could not start. */
export function checkPortsDiffer(smtp: Endpoint, http: Endpoint): readonly Finding[] {
  const everywhere = ['0.0.0.0', '::'];
  const overlap = smtp.host === http.host || everywhere.includes(smtp.host) || everywhere.includes(http.host);
  if (smtp.port !== http.port || !overlap) return [];
  return [broken('http port', `SMTP_PORT and HTTP_PORT are both ${smtp.port}`, 'choose another port for one of them')];
}

async function checkPort(
  check: string,
  names: string,
  endpoint: Endpoint,
  ours: () => Promise<Finding | null>,
): Promise<Finding> {
  const code = await tryToListen(endpoint);
  if (code === null) return ok(check, `${where(endpoint)} is free${reach(endpoint)}`);
  if (code === 'EADDRINUSE') {
    const finding = await ours().catch(() => null);
    if (finding !== null) return finding;
  }
  const [found, mend] = REASONS[code] ?? [`cannot be listened on (${code})`, `choose another address in ${names}`];
  return broken(check, `${where(endpoint)} ${found}`, mend.replace('$', names));
}

const REASONS: Readonly<Record<string, readonly [found: string, mend: string]>> = {
  EADDRINUSE: ['is taken by another program', 'stop that program, or choose another port in $'],
  EACCES: [
    'may not be listened on: no permission for that port',
    'choose a port of 1024 or more in $, or allow the process low ports (AmbientCapabilities=CAP_NET_BIND_SERVICE)',
  ],
  EADDRNOTAVAIL: ['is no address of this machine', 'set $ to 127.0.0.1, 0.0.0.0 or an address it has'],
  ENOTFOUND: ['is a name that does not resolve', 'set $ to 127.0.0.1, 0.0.0.0 or a name that resolves'],
};

/** Shape: null when the address can be had, else the error's code. Owns: listens for a moment only. */
function tryToListen({ host, port }: Endpoint): Promise<string | null> {
  const server = createServer((socket) => socket.destroy());
  return new Promise((resolve) => {
    server.once('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message));
    server.listen({ host, port, exclusive: true }, () => server.close(() => resolve(null)));
  });
}

async function askReadiness(endpoint: Endpoint): Promise<Finding | null> {
  const response = await fetch(`http://${where(reachable(endpoint))}/readyz`, {
    signal: AbortSignal.timeout(ASK_TIMEOUT_MS),
    redirect: 'error',
  });
  const body = (await response.json()) as { status?: unknown; checks?: Record<string, { reason?: unknown }> };
  if (typeof body.checks !== 'object' || body.checks === null) return null;
  if (body.status === 'ready') return ok('http port', `${our(endpoint)}, and is ready`);
  const reasons = Object.entries(body.checks).flatMap(([name, { reason }]) => (reason ? [`${name} ${reason}`] : []));
  return warning('http port', `${our(endpoint)}, and is not ready: ${reasons.join('; ')}`, 'mend what it names');
}

const our = (endpoint: Endpoint): string => `our own server runs at ${where(endpoint)}`;

function reach({ host }: Endpoint): string {
  return /^(127\.|::1$|localhost$)/.test(host) ? '; only this machine reaches it' : '';
}
