import type { Command } from 'commander';
import { blockPatternArgument, slugArgument } from './arguments.ts';
import { type CliContext, CommandFailure, type Toolbox } from './context.ts';
import { table } from './output.ts';
import { organisationId, settingsFor, withToolbox } from './session.ts';

interface Scope {
  /** Slug; undefined: every organisation. */
  readonly org?: string;
}

export function addBlockCommands(program: Command, context: CliContext): void {
  const block = program.command('block').description('senders whose mail is refused');
  block
    .command('add')
    .description('refuse mail from an address or a whole domain, within seconds')
    .argument(
      '<address-or-@domain>',
      'such as spam@example.net, @example.net, or @.example.net for all below it as well',
      blockPatternArgument,
    )
    .option('--org <slug>', 'only for this organisation (default: for all)', slugArgument)
    .addHelpText(
      'after',
      `
Examples:
  $ orderflow-ingest block add spam@example.net
  $ orderflow-ingest block add @example.net --org acme
  $ orderflow-ingest block add @.example.net`,
    )
    .action(async (pattern: string, scope: Scope) => {
      const done = await change(context, 'block', pattern, scope);
      await context.err.line(`${pattern} ${done ? 'is' : 'was already'} blocked for ${whom(scope)}`);
    });
  block
    .command('remove')
    .description('take mail from a blocked sender again')
    .argument('<address-or-@domain>', 'as it was blocked', blockPatternArgument)
    .option('--org <slug>', 'the block of this organisation (default: the one for all)', slugArgument)
    .addHelpText('after', '\nExample:\n  $ orderflow-ingest block remove @example.net --org acme')
    .action(async (pattern: string, scope: Scope) => {
      const done = await change(context, 'unblock', pattern, scope);
      if (!done) throw new CommandFailure(`${pattern} is not blocked for ${whom(scope)}: block list shows what is`);
      await context.err.line(`${pattern} is no longer blocked for ${whom(scope)}`);
    });
  block
    .command('list')
    .description('list the blocked senders')
    .option('--json', 'print JSON')
    .addHelpText('after', '\nExample:\n  $ orderflow-ingest block list')
    .action(async (options: { json?: true }) => listBlocked(context, options.json === true));
}

const whom = ({ org }: Scope): string => (org === undefined ? 'every organisation' : `organisation ${org}`);

async function change(context: CliContext, verb: 'block' | 'unblock', pattern: string, scope: Scope): Promise<boolean> {
  const use = async (toolbox: Toolbox): Promise<boolean> => {
    const orgId = scope.org === undefined ? null : await organisationId(toolbox, scope.org);
    return await toolbox.blockList[verb](pattern, orgId);
  };
  return await withToolbox(context, settingsFor(context, context.err), use, { create: verb === 'block' });
}

async function listBlocked(context: CliContext, json: boolean): Promise<void> {
  const settings = settingsFor(context, context.err);
  const blocked = await withToolbox(context, settings, (toolbox) => toolbox.blockList.listBlocked());
  if (json) {
    return await context.out.json(
      blocked.map((one) => ({
        pattern: one.pattern,
        org_id: one.orgId,
        org_slug: one.orgSlug,
        created_at: one.createdAt.toISOString(),
      })),
    );
  }
  if (blocked.length === 0) return await context.err.line('nobody is blocked');
  const rows = blocked.map((one) => [one.pattern, one.orgSlug ?? '(all)', one.createdAt.toISOString()]);
  await context.out.line(table(['sender', 'organisation', 'since'], rows));
}
