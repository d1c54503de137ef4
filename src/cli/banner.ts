/** What `start` tells a newcomer: where everything is, and how to send the first mail. */
import { join } from 'node:path';
import type { Settings } from '../config/settings.ts';
import type { RunningServer } from './context.ts';
import { endpointText, reachable } from './endpoint.ts';

export interface BannerOptions {
  /** false where a service manager or a pipe keeps what is said. */
  readonly forTerminal: boolean;
  readonly ownCommand: string;
}

export function banner(server: RunningServer, settings: Settings, o: BannerOptions): string {
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
  lines.push(`  Database        ${databaseText(server, settings, o.forTerminal)}`, '');
  lines.push(
    ...firstMail(server, slug, address, o.ownCommand),
    'Ctrl-C stops it; mail under way is finished first.',
    '',
  );
  return lines.join('\n');
}

function firstMail(server: RunningServer, slug: string | null, address: string | null, ownCommand: string): string[] {
  if (server.smtp === null) return [];
  if (slug === null || address === null) {
    return ['Make an organisation, and mail can come:', `  ${ownCommand} org add acme`, ''];
  }
  const endpoint = endpointText(reachable(server.smtp));
  // The other shell may not have this one's settings.
  const smtp = endpoint === '127.0.0.1:2525' ? '' : ` --smtp ${endpoint}`;
  return [
    'Send a first mail from another terminal, either way:',
    `  ${ownCommand} send --to ${slug}${smtp} order.pdf`,
    `  swaks --server ${endpoint} --to ${address} --from buyer@example.com --attach @order.pdf`,
    '',
  ];
}

const shownParameters: ReadonlySet<string> = new Set(['host', 'port', 'user', 'dbname', 'sslmode']);

/**
 * The embedded database's string is for the developer to connect with, and kept nowhere. Of an operator's only what is known to
 * be no secret is shown: passwords stand in more than one place of it.
 */
function databaseText(server: RunningServer, settings: Settings, forTerminal: boolean): string {
  if (server.embeddedDatabase) {
    if (forTerminal) return `${server.databaseUrl}  (embedded)`;
    return `embedded, in ${join(settings.dataDir, 'postgres')}  (a terminal is told how to connect)`;
  }
  const url = URL.parse(server.databaseUrl);
  if (url === null) return 'as in DATABASE_URL';
  for (const name of [...url.searchParams.keys()]) if (!shownParameters.has(name)) url.searchParams.delete(name);
  url.password = '';
  url.hash = '';
  return url.href;
}
