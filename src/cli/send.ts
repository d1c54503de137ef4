import { constants } from 'node:fs';
import { access, stat } from 'node:fs/promises';
import { basename, resolve } from 'node:path';
import type { Command } from 'commander';
import type { Settings } from '../config/settings.ts';
import type { MessageView } from '../ports/message-view.ts';
import { visible } from '../telemetry/visible-text.ts';
import { addressArgument, endpointArgument, recipientArgument } from './arguments.ts';
import { type CliContext, CommandFailure, UsageError } from './context.ts';
import { type Endpoint, reachable } from './endpoint.ts';
import { followMessage } from './follow.ts';
import { messageJson } from './message-json.ts';
import { documentTable } from './message-text.ts';
import { settingsFor, withToolbox } from './session.ts';

interface SendOptions {
  readonly to: string;
  readonly from: string;
  readonly subject?: string;
  readonly smtp?: Endpoint;
  readonly json?: true;
}

export function addSendCommand(program: Command, context: CliContext): void {
  program
    .command('send')
    .description(
      'mail files to a running server as a buyer would, and follow the message until its documents are there',
    )
    .argument('<file...>', 'files to attach')
    .requiredOption('--to <slug-or-address>', 'organisation, or a whole address (required)', recipientArgument)
    .option('--from <address>', 'sender', addressArgument, 'buyer@example.com')
    .option('--subject <text>', 'subject (default: names the files)')
    .option('--smtp <host:port>', 'server to send to (default: SMTP_HOST and SMTP_PORT)', endpointArgument)
    .option('--json', 'print JSON')
    .addHelpText(
      'after',
      `
Prints the server's reply and the documents. Ends with 1 when the mail is refused, its processing fails, or it is
still under way after a minute. The message is followed in the database of these settings; where there is none, as on
another machine than the server's, the reply alone is printed.

Examples:
  $ orderflow-ingest send --to acme order.pdf
  $ orderflow-ingest send --to orders+acme@orderflow.example.com --smtp mail.example.com:25 order.pdf items.csv`,
    )
    .action(async (files: string[], options: SendOptions) => send(context, files, options));
}

async function send(context: CliContext, files: readonly string[], options: SendOptions): Promise<void> {
  const settings = settingsFor(context, context.err);
  const paths = files.map((file) => resolve(context.cwd, file));
  await checkFiles(files, paths);
  const { sendMail } = await import('./send-mail.ts');
  const reply = await sendMail(options.smtp ?? reachable(settings.smtp), {
    from: options.from,
    to: recipient(options.to, settings),
    subject: options.subject ?? `Purchase order: ${paths.map((path) => basename(path)).join(', ')}`,
    files: paths,
  });
  if (!options.json) await context.out.line(reply);
  await report(context, settings, reply, options.json === true);
}

const recipient = (to: string, settings: Settings): string =>
  to.includes('@') ? to : `orders+${to}@${settings.smtp.domains[0]}`;

/** Everything is looked at before anything is sent. */
async function checkFiles(files: readonly string[], paths: readonly string[]): Promise<void> {
  const problems = await Promise.all(
    paths.map(async (path, index) => {
      const shown = visible(files[index] ?? path);
      try {
        if (!(await stat(path)).isFile()) return `${shown} is not a file`;
        await access(path, constants.R_OK);
        return null;
      } catch (error) {
        return (error as NodeJS.ErrnoException).code === 'ENOENT'
          ? `there is no file ${shown}`
          : `${shown} cannot be read (${(error as NodeJS.ErrnoException).code ?? 'unknown fault'})`;
      }
    }),
  );
  const lines = problems.filter((problem) => problem !== null);
  if (lines.length > 0) throw new UsageError(lines.map((line) => `${line}; nothing was sent`).join('\n'));
}

const uuid = /[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}/gi;

async function report(context: CliContext, settings: Settings, reply: string, json: boolean): Promise<void> {
  const ids = [...new Set(reply.match(uuid) ?? [])];
  const found = ids.length === 0 ? 'the reply names no message' : await follow(context, settings, ids);
  if (typeof found === 'string') {
    if (json) await context.out.json({ smtp_reply: reply, followed: false, messages: [] });
    await context.err.line(`not followed: ${found}`);
    return;
  }
  if (json) await context.out.json({ smtp_reply: reply, followed: true, messages: found.map(messageJson) });
  else for (const message of found) await describe(context, message);
  const failed = found.filter(({ status }) => status === 'FAILED');
  if (failed.length > 0) {
    throw new CommandFailure(
      failed.map(({ id, error }) => `message ${id} FAILED: ${visible(JSON.stringify(error ?? null))}`).join('\n'),
    );
  }
}

/** Shape: why not, where there is no database to follow them in: the mail is accepted all the same. */
async function follow(
  context: CliContext,
  settings: Settings,
  ids: readonly string[],
): Promise<MessageView[] | string> {
  const { NoDatabaseError } = await context.loadCompose();
  const found: MessageView[] = [];
  try {
    await withToolbox(context, settings, async ({ messages }) => {
      for (const id of ids) {
        found.push(await followMessage({ messages, id, deadlineMs: context.followDeadlineMs, progress: context.err }));
      }
    });
    return found;
  } catch (error) {
    if (error instanceof NoDatabaseError) return error.message;
    throw error;
  }
}

async function describe(context: CliContext, { id, conflictWith, documents }: MessageView): Promise<void> {
  if (conflictWith !== null) {
    await context.err.line(
      `kept aside as ${id}: another mail, ${conflictWith}, has the same Message-ID. It is not read`,
    );
  } else if (documents.length > 0) await context.out.line(documentTable(documents));
  else await context.err.line('no documents');
}
