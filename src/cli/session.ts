/** From a context to settings, a log and a toolbox, and back again: what nearly every command begins and ends with. */
import type { DestinationStream } from 'pino';
import { loadSettings } from '../config/load.ts';
import type { Settings } from '../config/settings.ts';
import type { Log } from '../telemetry/log.ts';
import { type CliContext, CommandFailure, type Toolbox, UsageError } from './context.ts';
import type { Output } from './output.ts';

/** Errors: `UsageError` with one line per problem: settings are part of how the command is used. */
export function settingsFor(context: CliContext, logOutput: Output): Settings {
  const loaded = loadSettings({ env: context.env, cwd: context.cwd, terminal: logOutput.isTerminal });
  if ('problems' in loaded) throw new UsageError(loaded.problems.join('\n'));
  return loaded.settings;
}

/** The log of a command other than `start`: on standard error, and silent about what went well. */
export async function quietLog(context: CliContext, settings: Settings): Promise<Log> {
  const { createLog } = await import('../telemetry/log.ts');
  const level = settings.log.level === 'info' ? 'warn' : settings.log.level;
  const stream: DestinationStream = { write: (line) => void context.err.write(line) };
  return createLog({ ...settings.log, level }, stream);
}

/**
 * Opens the toolbox, uses it, and closes it whatever happens, also on Ctrl-C: it may own a database process.
 * Only a command that adds something may `create` a database: made by one that looks, it would read like lost mails.
 */
export async function withToolbox<T>(
  context: CliContext,
  settings: Settings,
  use: (toolbox: Toolbox) => Promise<T>,
  { create = false }: { readonly create?: boolean } = {},
): Promise<T> {
  const compose = await context.loadCompose();
  const log = await quietLog(context, settings);
  const interruption = Promise.withResolvers<never>();
  interruption.promise.catch(() => {});
  const stopListening = context.onSignal(() => interruption.reject(new CommandFailure('interrupted')));
  const opening = compose.openToolbox({ settings, log, create });
  try {
    const toolbox = await opening;
    return await Promise.race([use(toolbox), interruption.promise]);
  } finally {
    stopListening();
    await (await opening.catch(() => null))?.close();
  }
}

/** Errors: `CommandFailure` when there is no such organisation. */
export async function organisationId(toolbox: Toolbox, slug: string): Promise<string> {
  const organisation = await toolbox.organisations.findBySlug(slug.toLowerCase());
  if (organisation === null) {
    throw new CommandFailure(`no organisation "${slug}": org list shows those there are, org add makes one`);
  }
  return organisation.id;
}
