import type { Command } from 'commander';
import type { Settings } from '../config/settings.ts';
import { processesArgument, rolesArgument } from './arguments.ts';
import { banner } from './banner.ts';
import { type CliContext, type Role, type RunningServer, roles } from './context.ts';
import { settingsFor } from './session.ts';

interface StartOptions {
  readonly roles?: readonly Role[];
}

export function addStartCommand(program: Command, context: CliContext): void {
  program
    .command('start')
    .description('bring the schema up to date if needed and run the server')
    .option('--roles <list>', `what to run, of ${roles.join(',')} (default: all, in one process)`, rolesArgument)
    .option(
      '--processes <count>',
      'processes that take mail on one port (more than 1: a later version)',
      processesArgument,
    )
    .addHelpText(
      'after',
      `
Log lines go to standard output, everything else to standard error. SIGTERM or SIGINT finishes what is under way
and ends with 0, or with 1 where something does not finish in time; a second one ends at once with 1. SIGHUP reads the TLS certificate again.

Examples:
  $ orderflow-ingest start
  $ SMTP_HOST=0.0.0.0 SMTP_PORT=25 orderflow-ingest start --roles smtp,http
  $ orderflow-ingest start --roles worker`,
    )
    .action(async (options: StartOptions) => start(context, options.roles ?? roles));
}

async function start(context: CliContext, chosen: readonly Role[]): Promise<void> {
  const settings = settingsFor(context, context.out);
  const [compose, { createLog }] = await Promise.all([context.loadCompose(), import('../telemetry/log.ts')]);
  const log = createLog(settings.log);
  const signals = listenForSignals(context);
  const server = await compose.startServer({ settings, roles: chosen, log });
  await context.err.line(banner(server, settings));
  const stopReloading = reloadWhenAsked(context, settings, server);
  log.info({ signal: await signals.first }, 'stopping');
  try {
    await server.stop();
    log.info('stopped');
  } finally {
    signals.stopListening();
    stopReloading();
  }
}

/** A terminal that is closed sends SIGHUP as well: then the server ends with it, unless there is something to reload. */
function reloadWhenAsked(context: CliContext, settings: Settings, server: RunningServer): () => void {
  if (settings.smtp.tls === null && context.out.isTerminal) return () => {};
  return context.onReload(() => void server.reload());
}

/**
 * One Ctrl-C under `npm start` arrives twice, from the terminal and forwarded by npm (and again by our own launcher
 * on an old Node): what comes within this time of the first signal is the same wish.
 */
const sameWishMs = 500;

function listenForSignals(context: CliContext): { first: Promise<NodeJS.Signals>; stopListening: () => void } {
  const first = Promise.withResolvers<NodeJS.Signals>();
  let firstAt: number | null = null;
  const stopListening = context.onSignal((signal) => {
    if (firstAt === null) {
      firstAt = performance.now();
      first.resolve(signal);
    } else if (performance.now() - firstAt > sameWishMs) {
      context.exitNow(1);
    }
  });
  return { first: first.promise, stopListening };
}
