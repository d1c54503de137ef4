/** The command line as a whole: which commands there are, and what their ends mean to the shell. */
import { Command, CommanderError } from 'commander';
import { version } from '../version.ts';
import { addBlockCommands } from './block.ts';
import { type CliContext, CommandFailure, UsageError } from './context.ts';
import { addDoctorCommand } from './doctor.ts';
import { addDocumentsCommands } from './documents.ts';
import { addJobsCommands } from './jobs.ts';
import { addMessagesCommands } from './messages.ts';
import { addMigrateCommand } from './migrate.ts';
import { addOrgCommands } from './org.ts';
import { addReconcileCommand } from './reconcile.ts';
import { addSendCommand } from './send.ts';
import { addStartCommand } from './start.ts';

/** done / failed / used wrongly. Wrong settings count as used wrongly. */
export type ExitCode = 0 | 1 | 2;

export function createProgram(context: CliContext): Command {
  const program = new Command('orderflow-ingest');
  program
    .description('Takes purchase orders by mail and hands their attachments to extraction.')
    .version(version(), '-V, --version', 'print the version')
    .helpCommand('help [command]', 'show the help of a command')
    .exitOverride()
    .showHelpAfterError('(--help shows how it is used)')
    .configureOutput({
      writeOut: (text) => void context.out.write(text),
      writeErr: (text) => void context.err.write(text),
    })
    .addHelpText(
      'after',
      `
Settings come from the environment and from a .env file in the current directory; .env.example lists them.
Exit codes: 0 done, 1 failed, 2 used wrongly (arguments or settings).

A first mail:
  $ orderflow-ingest start
  $ orderflow-ingest send --to acme order.pdf`,
    );
  addStartCommand(program, context);
  addMigrateCommand(program, context);
  addOrgCommands(program, context);
  addBlockCommands(program, context);
  addSendCommand(program, context);
  addMessagesCommands(program, context);
  addDocumentsCommands(program, context);
  addJobsCommands(program, context);
  addReconcileCommand(program, context);
  addDoctorCommand(program, context);
  return program;
}

/** `args` without node and script. Never rejects. */
export async function runCli(args: readonly string[], context: CliContext): Promise<ExitCode> {
  try {
    await createProgram(context).parseAsync([...args], { from: 'user' });
    return await written(context);
  } catch (error) {
    const code = await explain(error, context);
    return code === 0 ? await written(context) : code;
  }
}

/** Data that did not reach its file is no success. */
async function written(context: CliContext): Promise<ExitCode> {
  await context.out.write('');
  const { failure } = context.out;
  return failure === null ? 0 : await say(`standard output cannot be written: ${failure}`, 1, context);
}

async function explain(error: unknown, context: CliContext): Promise<ExitCode> {
  // commander has printed its own message or the help asked for already.
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2;
  if (error instanceof UsageError) return await say(error.message, 2, context);
  if (error instanceof CommandFailure || (await isStartError(error, context))) {
    return await say((error as Error).message, 1, context);
  }
  const message = error instanceof Error ? error.message || error.name : String(error);
  await say(`unexpected: ${message.split('\n', 1)[0]}`, 1, context);
  if (wantsStack(context)) await context.err.line(error instanceof Error ? (error.stack ?? '') : '');
  else await context.err.line('LOG_LEVEL=debug shows where it happened');
  return 1;
}

async function say<C extends ExitCode>(message: string, code: C, context: CliContext): Promise<C> {
  for (const line of message.split('\n')) await context.err.line(`error: ${line}`);
  return code;
}

/** Errors whose message is meant for the user, by the parts that may throw them. */
async function isStartError(error: unknown, context: CliContext): Promise<boolean> {
  if (!(error instanceof Error)) return false;
  if (error.name === 'ListenError') return true;
  try {
    const { StartError } = await context.loadCompose();
    return error instanceof StartError;
  } catch {
    return false;
  }
}

const wantsStack = (context: CliContext): boolean => /^(debug|trace)$/i.test(context.env.LOG_LEVEL ?? '');
