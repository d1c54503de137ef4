import { type Command, InvalidArgumentError } from 'commander';
import { slugArgument } from './arguments.ts';
import { type CliContext, CommandFailure, UsageError } from './context.ts';
import { table } from './output.ts';
import { settingsFor, withToolbox } from './session.ts';

export function addOrgCommands(program: Command, context: CliContext): void {
  const org = program.command('org').description('organisations that mail is taken for');
  org
    .command('add')
    .description('add an organisation; mail to orders+<slug>@ any of our domains is taken from then on')
    .argument('<slug>', 'its name in addresses: a-z, 0-9 and hyphen', slugArgument)
    .option('--name <name>', 'its name for people (default: the slug)', nameArgument)
    .addHelpText('after', '\nExample:\n  $ orderflow-ingest org add acme --name "Acme GmbH"')
    .action(async (slug: string, options: { name?: string }) => addOrganisation(context, slug, options.name ?? slug));
  org
    .command('list')
    .description('list the organisations')
    .option('--json', 'print JSON')
    .addHelpText('after', '\nExample:\n  $ orderflow-ingest org list --json')
    .action(async (options: { json?: true }) => listOrganisations(context, options.json === true));
}

function nameArgument(text: string): string {
  const name = text.trim();
  if (name !== '' && name.length <= 200 && !/[\u0000-\u001f\u007f]/.test(name)) return name;
  throw new InvalidArgumentError('It is 1 to 200 characters on one line.');
}

async function addOrganisation(context: CliContext, slug: string, name: string): Promise<void> {
  const settings = settingsFor(context, context.err);
  const added = await withToolbox(context, settings, (toolbox) => toolbox.organisations.add(slug, name), {
    create: true,
  });
  if ('problem' in added) {
    if (added.problem === 'slug-taken') throw new CommandFailure(`there is an organisation "${slug}" already`);
    throw new UsageError(`"${slug}" is not a slug: a-z, 0-9 and hyphen`);
  }
  await context.out.line(table(['slug', 'id', 'name'], [[added.slug, added.id, added.name]]));
  const addresses = settings.smtp.domains.map((domain) => `orders+${added.slug}@${domain}`);
  await context.err.line(`takes orders at ${addresses.join(', ')}`);
}

async function listOrganisations(context: CliContext, json: boolean): Promise<void> {
  const settings = settingsFor(context, context.err);
  const all = await withToolbox(context, settings, (toolbox) => toolbox.organisations.list());
  if (json) return await context.out.json(all.map(({ id, slug, name, disabled }) => ({ id, slug, name, disabled })));
  if (all.length === 0) return await context.err.line('no organisation yet: org add makes one');
  const rows = all.map((one) => [one.slug, one.id, one.disabled ? 'disabled' : 'active', one.name]);
  await context.out.line(table(['slug', 'id', 'state', 'name'], rows));
}
