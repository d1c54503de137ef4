import type { Command } from 'commander';
import type { Requeued } from '../jobs/requeue.ts';
import { idArgument, timeArgument } from './arguments.ts';
import { type CliContext, CommandFailure, type Toolbox, UsageError } from './context.ts';
import { settingsFor, withToolbox } from './session.ts';

interface RequeueOptions {
  readonly document?: string;
  readonly storedBefore?: Date;
  readonly json?: true;
}

export function addJobsCommands(program: Command, context: CliContext): void {
  const jobs = program.command('jobs').description('look after the jobs of the next stage');
  jobs
    .command('requeue')
    .description('queue extract_document jobs again that the next stage has lost or given up')
    .option('--document <id>', 'that of one document', idArgument)
    .option(
      '--stored-before <time>',
      'those of all documents that were stored before, and are not finished',
      timeArgument,
    )
    .option('--json', 'print JSON')
    .addHelpText(
      'after',
      `
Not finished are documents that are STORED or PROCESSING; --document also takes one that the next stage has FAILED. A job that
waits or is worked on stays as it is, so the command may be repeated. It works on the queue that the next stage uses: Redis
where REDIS_URL is set, otherwise the database.

Examples:
  $ orderflow-ingest jobs requeue --document 01890a5d-ac96-774b-bcce-b302099a8057
  $ orderflow-ingest jobs requeue --stored-before 2h`,
    )
    .action(async (options: RequeueOptions) => requeueJobs(context, options));
}

async function requeueJobs(context: CliContext, { document, storedBefore, json }: RequeueOptions): Promise<void> {
  const requeue =
    document === undefined
      ? storedBefore && ((toolbox: Toolbox) => toolbox.jobs.storedBefore(storedBefore))
      : (toolbox: Toolbox) => requeueOne(toolbox, document);
  if (requeue === undefined || (document !== undefined && storedBefore !== undefined))
    throw new UsageError('jobs requeue: give either --document or --stored-before');
  const { requeued, live } = await withToolbox(context, settingsFor(context, context.err), requeue);
  if (json) await context.out.json({ requeued: requeued.length, live, document_ids: requeued });
  else if (requeued.length > 0) await context.out.line(requeued.join('\n'));
  await context.err.line(`${requeued.length} queued again, ${live} had a live job already`);
}

async function requeueOne(toolbox: Toolbox, id: string): Promise<Requeued> {
  const answer = await toolbox.jobs.document(id);
  if (answer === null) throw new CommandFailure(`no document ${id}: messages show lists those of a message`);
  if (!('done' in answer)) return answer;
  const why =
    answer.done.status === 'EXTRACTED'
      ? 'is EXTRACTED: the next stage has finished it'
      : 'has no stored file to extract';
  throw new CommandFailure(`document ${id} ${why}`);
}
