/** What `start` tells a newcomer: where everything is, and how to send the first mail. */
import { join } from 'node:path';
import type { Settings } from '../config/settings.ts';
import type { RunningServer } from './context.ts';
import { endpointText, reachable } from './endpoint.ts';

/** `forTerminal`: false where a service manager or a pipe keeps what is said. */
export function banner(server: RunningServer, settings: Settings, forTerminal: boolean): string {
  const slug = server.firstOrganisation ?? server.organisations[0] ?? null;
  const lines = ['', 'OrderFlow Ingest is running.', ''];
  if (server.firstOrganisation !== null) {
    lines.push(`  There was no organisation yet; "${server.firstOrganisation}" was created.`, '');
  }
  const address = slug === null ? null : `orders+${slug}@${settings.smtp.domains[0]}`;
  if (server.smtp !== null && address !== null) lines.push(`  Send orders to  ${address}`);
  if (server.smtp !== null) lines.push(`  SMTP            ${endpointText(server.smtp)}`);
  if (server.http !== null) {
    lines.push(`  HTTP            http://${endpointText(reachable(server.http))}  (/healthz, /readyz, /metrics)`);
  }
  lines.push(`  Database        ${databaseText(server, settings, forTerminal)}`, '');
  lines.push(...firstMail(server, slug, address), 'Ctrl-C stops it; mail under way is finished first.', '');
  return lines.join('\n');
}

function firstMail(server: RunningServer, slug: string | null, address: string | null): string[] {
  if (server.smtp === null) return [];
  if (slug === null || address === null) {
    return ['Make an organisation, and mail can come:', '  npm run -s cli -- org add acme', ''];
  }
  const endpoint = endpointText(reachable(server.smtp));
  // The other shell may not have this one's settings.
  const smtp = endpoint === '127.0.0.1:2525' ? '' : ` --smtp ${endpoint}`;
  return [
    'Send a first mail from another terminal, either way:',
    `  npm run -s cli -- send --to ${slug}${smtp} order.pdf`,
    `  swaks --server ${endpoint} --to ${address} --from buyer@example.com --attach @order.pdf`,
    '',
  ];
}

/** The embedded database's string is for the developer to connect with, and kept nowhere; an operator's password stays hidden. */
function databaseText(server: RunningServer, settings: Settings, forTerminal: boolean): string {
  if (server.embeddedDatabase) {
    if (forTerminal) return `${server.databaseUrl}  (embedded)`;
    return `embedded, in ${join(settings.dataDir, 'postgres')}  (a terminal is told how to connect)`;
  }
  const url = URL.parse(server.databaseUrl);
  if (url === null) return 'as in DATABASE_URL';
  if (url.password !== '') url.password = '***';
  if (url.searchParams.has('password')) url.searchParams.set('password', '***');
  return url.href;
}
