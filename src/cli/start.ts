import type { Command } from 'commander';
import type { Settings } from '../config/settings.ts';
import type { Log } from '../telemetry/log.ts';
import { processesArgument, rolesArgument } from './arguments.ts';
import { banner } from './banner.ts';
import { type CliContext, type Role, type RunningServer, roles, UsageError } from './context.ts';
import { settingsFor } from './session.ts';

interface StartOptions {
  readonly roles?: readonly Role[];
  readonly processes?: number;
}

export function addStartCommand(program: Command, context: CliContext): void {
  program
    .command('start')
    .description('bring the schema up to date if needed and run the server')
    .option('--roles <list>', `what to run, of ${roles.join(',')} (default: all, in one process)`, rolesArgument)
    .option(
      '--processes <count>',
      'processes that take mail on one port; more than 1 also puts the worker into one of its own (default: 1)',
      processesArgument,
    )
    .addHelpText(
      'after',
      `
Log lines go to standard output, everything else to standard error. SIGTERM or SIGINT finishes what is under way
and ends with 0, or with 1 where something does not finish in time; a second one ends at once with 1.
SIGHUP reads the TLS certificate again. With --processes, a process that dies is replaced, and SIGUSR2 replaces all, one
after the other.

Examples:
  $ orderflow-ingest start
  $ SMTP_HOST=0.0.0.0 SMTP_PORT=25 orderflow-ingest start --roles smtp,http
  $ orderflow-ingest start --processes 4
  $ orderflow-ingest start --roles worker`,
    )
    .action(async (options: StartOptions) => start(context, options.roles ?? roles, options.processes ?? 1));
}

async function start(context: CliContext, chosen: readonly Role[], processes: number): Promise<void> {
  if (processes > 1 && !chosen.includes('smtp')) {
    throw new UsageError('--processes is how many take mail: without the role smtp there is nothing to divide');
  }
  const settings = settingsFor(context, context.out);
  const [compose, { createLog }] = await Promise.all([context.loadCompose(), import('../telemetry/log.ts')]);
  const log = named(createLog(settings.log), processes);
  const signals = listenForSignals(context);
  await context.scheduleAsBatch();
  const server = await compose.startServer({ settings, roles: chosen, processes, log });
  await context.err.line(
    banner(server, settings, { forTerminal: context.err.isTerminal, ownCommand: context.ownCommand }),
  );
  const stopReloading = reloadWhenAsked(context, settings, server);
  const stopReplacing = context.onReplace(() => void server.replaceProcesses());
  log.info({ signal: await signals.first }, 'stopping');
  try {
    await server.stop();
    log.info('stopped');
  } finally {
    signals.stopListening();
    stopReloading();
    stopReplacing();
  }
}

/** A terminal that is closed sends SIGHUP as well: then the server ends with it, unless there is something to reload. */
function reloadWhenAsked(context: CliContext, settings: Settings, server: RunningServer): () => void {
  if (settings.smtp.tls === null && context.out.isTerminal) return () => {};
  return context.onReload(() => void server.reload());
}

/** Of several processes that write one log each line tells its own; who is alone need not say so. */
const named = (log: Log, processes: number): Log =>
  processes === 1 ? log : log.child({ process: 'main', pid: process.pid });

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
