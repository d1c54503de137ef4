import { createHash } from 'node:crypto';
import type { Command } from 'commander';
import type { DocumentFilter, DocumentStatus, DocumentSummary } from '../ports/message-view.ts';
import { type ObjectStore, StoreError } from '../ports/object-store.ts';
import { documentStatusArgument, idArgument, limitArgument, partArgument, slugArgument } from './arguments.ts';
import { type CliContext, CommandFailure } from './context.ts';
import { documentSummaryJson } from './message-json.ts';
import { documentSummaryTable } from './message-text.ts';
import { defaultLimit } from './messages.ts';
import type { Output } from './output.ts';
import { organisationId, settingsFor, withToolbox } from './session.ts';
import { timeArgument, timesFor } from './times.ts';

type ListOptions = Omit<DocumentFilter, 'orgId'> & {
  readonly org?: string;
  readonly status?: DocumentStatus;
  readonly json?: true;
};

export function addDocumentsCommands(program: Command, context: CliContext): void {
  const documents = program.command('documents').description('files of the mails: look for them, and take them out');
  documents
    .command('list')
    .description('list documents, newest first')
    .option('--org <slug>', 'only those of this organisation', slugArgument)
    .option('--status <status>', 'only those of this status, such as STORED or FAILED', documentStatusArgument)
    .option('--file <text>', 'only those with this in their file name', partArgument)
    .option('--since <time>', 'only those stored at that time or later', timeArgument)
    .option('--until <time>', 'only those stored before that time', timeArgument)
    .option('--limit <count>', 'at most so many', limitArgument, defaultLimit)
    .option('--json', 'print JSON')
    .addHelpText('after', '\nExample:\n  $ orderflow-ingest documents list --org acme --file invoice --since yesterday')
    .action(async (options: ListOptions) => listDocuments(context, options));
  documents
    .command('get')
    .description('write the bytes of a document to standard output')
    .argument('<id>', 'id of the document', idArgument)
    .addHelpText(
      'after',
      '\nExample:\n  $ orderflow-ingest documents get 4a3f0c5e-0b1d-5c7e-9f00-3d2a1b0c9d8e > order.pdf',
    )
    .action(async (id: string) => getDocument(context, id));
}

async function listDocuments(context: CliContext, { org, json, ...filter }: ListOptions): Promise<void> {
  const found = await withToolbox(context, settingsFor(context, context.err), async (toolbox) => {
    const orgId = org === undefined ? undefined : await organisationId(toolbox, org);
    return await toolbox.messages.listDocuments({ ...filter, orgId });
  });
  if (json) await context.out.json(found.map(documentSummaryJson));
  else if (found.length === 0) await context.err.line('no such document');
  else await context.out.line(documentSummaryTable(found, timesFor(context.out)));
  if (found.length === filter.limit) await context.err.line(`the newest ${filter.limit}; --limit shows more`);
}

async function getDocument(context: CliContext, id: string): Promise<void> {
  if (context.out.isTerminal) throw new CommandFailure(`a file is not for a terminal: documents get ${id} > FILE`);
  await withToolbox(context, settingsFor(context, context.err), async ({ messages, objects }) => {
    const document = await messages.findDocument(id);
    if (document === null) throw new CommandFailure(`no document ${id}: documents list shows those there are`);
    await copyDocument(objects, document, context.out);
  });
}

/** Whole and unchanged, or it is said. */
async function copyDocument(objects: ObjectStore, document: DocumentSummary, out: Output): Promise<void> {
  const { id, storageKey: key, sha256, status } = document;
  if (key === null) throw new CommandFailure(`document ${id} is ${status} and has no bytes: messages show tells why`);
  const digest = createHash('sha256');
  try {
    for await (const chunk of await objects.get(key)) {
      if (out.broken) return;
      digest.update(chunk);
      await out.write(chunk);
    }
  } catch (error) {
    if (!(error instanceof StoreError)) throw error;
    const reason = error.code === 'object-missing' ? 'is missing from' : 'cannot be read from';
    throw new CommandFailure(`${key}, the object of document ${id}, ${reason} the object store`, { cause: error });
  }
  if (sha256 !== null && digest.digest('hex') !== sha256) {
    throw new CommandFailure(`document ${id} was written, but it is not what was stored: its sha256 differs`);
  }
}
