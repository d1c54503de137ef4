import { StringDecoder } from 'node:string_decoder';
import type { Command } from 'commander';
import type { MessageFilter, MessageView } from '../ports/message-view.ts';
import { type ObjectStore, StoreError } from '../ports/object-store.ts';
import { visibleLines } from '../telemetry/visible-text.ts';
import { actor } from './actor.ts';
import {
  documentStatusArgument,
  idArgument,
  limitArgument,
  partArgument,
  reasonArgument,
  slugArgument,
  statusArgument,
} from './arguments.ts';
import { type CliContext, CommandFailure, type Toolbox, UsageError } from './context.ts';
import { messageJson, summaryJson } from './message-json.ts';
import { messageText, summaryTable } from './message-text.ts';
import type { Output } from './output.ts';
import { organisationId, settingsFor, withToolbox } from './session.ts';
import { timeArgument, timesFor } from './times.ts';

type ListOptions = Omit<MessageFilter, 'orgId' | 'noDocuments'> & {
  readonly org?: string;
  readonly conflicts?: true;
  /** commander's: false with `--no-documents`. */
  readonly documents: boolean;
  readonly json?: true;
};

export const defaultLimit = 50;

export function addMessagesCommands(program: Command, context: CliContext): void {
  const messages = program.command('messages').description('look at what was received, and have it read again');
  messages
    .command('list')
    .description('list messages, newest first')
    .option('--org <slug>', 'only those of this organisation', slugArgument)
    .option('--status <status>', 'only those that are RECEIVED, STORED, PARSED, FAILED or CONFLICT', statusArgument)
    .option('--conflicts', 'only mails kept aside, each with the message whose Message-ID it has')
    .option('--from <text>', 'only those with this in the sender or the header From', partArgument)
    .option('--to <text>', 'only those with this in the recipient or the header To', partArgument)
    .option('--subject <text>', 'only those with this in the subject', partArgument)
    .option('--file <text>', 'only those with this in the name of a file, whatever became of it', partArgument)
    .option('--since <time>', 'only those received at that time or later', timeArgument)
    .option('--until <time>', 'only those received before that time', timeArgument)
    .option('--no-documents', 'only those without a document')
    .option('--document-status <status>', 'only those with a document of this status', documentStatusArgument)
    .option('--limit <count>', 'at most so many', limitArgument, defaultLimit)
    .option('--json', 'print JSON')
    .addHelpText(
      'after',
      `
A mail kept aside because its Message-ID is taken by a mail of other content is CONFLICT. Texts are looked for in any case.
A time is today, yesterday, 30m, 2h or 3d (ago), 2026-03-01 (its beginning) or 2026-03-01T14:00, in the zone of this machine.

Examples:
  $ orderflow-ingest messages list --org acme --status FAILED
  $ orderflow-ingest messages list --no-documents --since yesterday --until today
  $ orderflow-ingest messages list --from @customer.example --file invoice --since 7d`,
    )
    .action(async (options: ListOptions) => listMessages(context, options));
  messages
    .command('show')
    .description('show a message: its documents, and why each part of the mail is one or is not')
    .argument('<id>', 'id of the message, or of a mail kept aside', idArgument)
    .option('--json', 'print JSON')
    .addHelpText('after', '\nExample:\n  $ orderflow-ingest messages show 01890a5d-ac96-774b-bcce-b302099a8057')
    .action(async (id: string, options: { json?: true }) => showMessage(context, id, options.json === true));
  messages
    .command('raw')
    .description('print the mail as it was received, byte for byte')
    .argument('<id>', 'id of the message, or of a mail kept aside', idArgument)
    .addHelpText(
      'after',
      '\nExample:\n  $ orderflow-ingest messages raw 01890a5d-ac96-774b-bcce-b302099a8057 > order.eml',
    )
    .action(async (id: string) => printRaw(context, id));
  messages
    .command('retry')
    .description('put FAILED messages back to be read again: once the store is whole, or with a mended parser')
    .argument('[id]', 'id of the message', idArgument)
    .option('--failed', 'all that are FAILED')
    .option('--org <slug>', 'only of this organisation', slugArgument)
    .option('--reason <code>', 'only those that failed for this reason, such as object-missing', reasonArgument)
    .option('--json', 'print JSON')
    .addHelpText(
      'after',
      `
Each is RECEIVED again, without its error, and has a job; documents that the next stage was told of are not handed on
twice. The table audit_log keeps who has asked.

Examples:
  $ orderflow-ingest messages retry 01890a5d-ac96-774b-bcce-b302099a8057
  $ orderflow-ingest messages retry --failed --org acme --reason object-missing`,
    )
    .action(async (id: string | undefined, options: RetryOptions) => retryMessages(context, id, options));
}

interface RetryOptions {
  readonly failed?: true;
  readonly org?: string;
  readonly reason?: string;
  readonly json?: true;
}

async function retryMessages(context: CliContext, id: string | undefined, options: RetryOptions): Promise<void> {
  const { failed = false, org, reason, json } = options;
  if ((id === undefined) !== failed) {
    throw new UsageError('messages retry: give the id of one message, or --failed for all that are');
  }
  const retried = await withToolbox(context, settingsFor(context, context.err), async (toolbox) => {
    const orgId = org === undefined ? undefined : await organisationId(toolbox, org);
    const ids = await toolbox.retries.retry({ id, orgId, reason, actor: actor() });
    if (id !== undefined && ids.length === 0)
      throw new CommandFailure(await whyNotRetried(toolbox, id, options, orgId));
    return ids;
  });
  if (json) await context.out.json({ retried: retried.length, ids: retried });
  else if (retried.length > 0) await context.out.line(retried.join('\n'));
  await context.err.line(
    retried.length === 0 ? 'no such message is FAILED' : `${retried.length} put back: RECEIVED, to be read again`,
  );
}

async function whyNotRetried(
  toolbox: Toolbox,
  id: string,
  { org, reason }: RetryOptions,
  orgId: string | undefined,
): Promise<string> {
  const message = await toolbox.messages.findMessage(id, orgId);
  if (message === null) {
    return `no message ${id}${org === undefined ? '' : ` of ${org}`}: messages list shows those there are`;
  }
  if (message.conflictWith !== null)
    return `${id} is a mail kept aside, which is not read: it meets ${message.conflictWith}`;
  if (message.status !== 'FAILED') return `message ${id} is ${message.status}: only one that is FAILED is put back`;
  if (reason === undefined) return `message ${id} was put back by somebody else, and has FAILED again: try once more`;
  return `message ${id} did not fail for ${reason}: messages show tells why it did`;
}

async function listMessages(context: CliContext, options: ListOptions): Promise<void> {
  const { org, json, conflicts, documents, ...filter } = options;
  if (conflicts && options.status !== undefined && options.status !== 'CONFLICT') {
    throw new UsageError(`messages list: --conflicts lists mails kept aside, none of them is ${options.status}`);
  }
  const status = conflicts ? 'CONFLICT' : options.status;
  const found = await withToolbox(context, settingsFor(context, context.err), async (toolbox) => {
    const orgId = org === undefined ? undefined : await organisationId(toolbox, org);
    return await toolbox.messages.listMessages({ ...filter, orgId, status, noDocuments: !documents });
  });
  if (json) await context.out.json(found.map(summaryJson));
  else if (found.length === 0) await context.err.line(noneFound(options));
  else await context.out.line(summaryTable(found, timesFor(context.out)));
  if (found.length === options.limit) await context.err.line(`the newest ${options.limit}; --limit shows more`);
}

const noneFound = ({ limit: _, json: __, documents, ...filter }: ListOptions): string =>
  documents && Object.keys(filter).length === 0 ? 'no message yet: send mails one' : 'no such message';

async function showMessage(context: CliContext, id: string, json: boolean): Promise<void> {
  const settings = settingsFor(context, context.err);
  const message = await withToolbox(context, settings, (toolbox) => findMessage(toolbox, id));
  if (json) await context.out.json(messageJson(message));
  else await context.out.line(messageText(message, timesFor(context.out)));
}

async function printRaw(context: CliContext, id: string): Promise<void> {
  await withToolbox(context, settingsFor(context, context.err), async (toolbox) => {
    const message = await findMessage(toolbox, id);
    const key = message.rawStorageKey;
    if (key === null) throw new CommandFailure(`message ${id} has no raw mail`);
    await copyRawMail(toolbox.objects, key, context.out);
  });
}

async function findMessage(toolbox: Toolbox, id: string): Promise<MessageView> {
  const message = await toolbox.messages.findMessage(id);
  if (message === null) throw new CommandFailure(`no message ${id}: messages list shows those there are`);
  return message;
}

async function copyRawMail(objects: ObjectStore, key: string, out: Output): Promise<void> {
  const decoder = new StringDecoder('utf8');
  try {
    for await (const chunk of await objects.get(key)) {
      if (out.broken) return;
      // A mail may hold escape sequences for whoever looks at it; a file or pipe gets every byte as it is.
      await out.write(out.isTerminal ? visibleLines(decoder.write(Buffer.from(chunk))) : chunk);
    }
  } catch (error) {
    if (!(error instanceof StoreError)) throw error;
    const reason = error.code === 'object-missing' ? 'is missing from' : 'cannot be read from';
    throw new CommandFailure(`the raw mail ${key} ${reason} the object store`, { cause: error });
  }
}
