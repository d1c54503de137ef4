import { styleText } from 'node:util';
import type { Command } from 'commander';
import { loadSettings } from '../config/load.ts';
import { broken, type Finding, ok } from '../ports/finding.ts';
import { visible } from '../telemetry/visible-text.ts';
import { domainArgument, nameServersArgument, processesArgument, rolesArgument } from './arguments.ts';
import { type CliContext, CommandFailure, type Role, roles, UsageError } from './context.ts';
import { quietLog } from './session.ts';

interface DoctorOptions {
  readonly json?: true;
  readonly createBucket?: true;
  readonly adoptStore?: true;
  readonly roles?: readonly Role[];
  readonly processes?: number;
  readonly domain?: readonly string[];
  readonly dnsServers?: readonly string[];
}

export function addDoctorCommand(program: Command, context: CliContext): void {
  program
    .command('doctor')
    .description('check every dependency and setting, and say in words what to mend')
    .option('--create-bucket', 'make the bucket in the S3 store when it is not there')
    .option('--adopt-store', 'take the object store that is there now for the one of this database from now on')
    .option('--roles <list>', 'the connections of these roles are added up (default: all)', rolesArgument)
    .option('--processes <count>', 'and of so many processes that take mail (default: 1)', processesArgument)
    .option(
      '--domain <domain>',
      'only where mail for this domain goes, and how it gets here; may be repeated',
      domainArgument,
    )
    .option('--dns-servers <list>', 'name servers to ask (default: those of this machine)', nameServersArgument)
    .option('--json', 'print JSON')
    .addHelpText(
      'after',
      `
Without --create-bucket and --adopt-store it changes nothing: what it writes to try a disk or a store, it removes. Run it as the user, on the machine and with the
settings of the server; it may run before the first start, or while the server runs.
It asks DNS where mail for the domains of SMTP_DOMAIN goes (with --domain: for that one alone), and greets port 25 of the
hosts that it finds, unless they are Microsoft's or Google's, to see who answers.
Ends with 1 when anything is broken; a warning is something that works and will hurt one day.
--adopt-store is for a store that was moved, emptied or replaced on purpose: mails whose objects are not in it become FAILED.

Examples:
  $ orderflow-ingest doctor
  $ orderflow-ingest doctor --processes 4
  $ orderflow-ingest doctor --domain orders.company.example --dns-servers 9.9.9.9
  $ orderflow-ingest doctor --json | jq '.findings[] | select(.state != "ok")'`,
    )
    .action(async (options: DoctorOptions) => doctor(context, options));
}

async function doctor(context: CliContext, { json, ...asked }: DoctorOptions): Promise<void> {
  const findings = await examine(context, asked);
  const count = (state: Finding['state']): number => findings.filter((one) => one.state === state).length;
  const brokenCount = count('broken');
  if (json) await context.out.json({ broken: brokenCount > 0, findings });
  else await context.out.line(report(findings, context.out.isTerminal && !context.env.NO_COLOR));
  const summary = `${brokenCount} broken, ${count('warning')} to be warned of, ${count('ok')} in order`;
  if (brokenCount > 0) throw new CommandFailure(summary);
  await context.err.line(summary);
}

/** Wrong settings are findings too, all at once; then only what needs no setting can be looked at. */
async function examine(
  context: CliContext,
  { createBucket: makeBucket, adoptStore, roles: chosen = roles, processes = 1, domain, dnsServers }: DoctorOptions,
): Promise<readonly Finding[]> {
  const createBucket = makeBucket === true;
  if (domain !== undefined && (createBucket || adoptStore)) {
    throw new UsageError('--domain looks at mail alone: leave --create-bucket and --adopt-store out');
  }
  const loaded = loadSettings({ env: context.env, cwd: context.cwd, terminal: context.err.isTerminal });
  const compose = await context.loadCompose();
  const threadPoolSize = context.env.UV_THREADPOOL_SIZE;
  if ('problems' in loaded) {
    const problems = loaded.problems.map((problem) =>
      broken('settings', problem, 'change that setting, and ask again'),
    );
    return [...problems, ...(await compose.examineHost({ threadPoolSize }))];
  }
  const { settings } = loaded;
  if (createBucket && settings.objectStorage === null) {
    throw new UsageError('--create-bucket: OBJECT_STORAGE_ENDPOINT is not set, mail is kept in files');
  }
  const log = await quietLog(context, settings);
  const found = await compose.examine({
    settings,
    threadPoolSize,
    createBucket,
    adoptStore: adoptStore === true,
    roles: chosen,
    processes,
    mailDomains: domain ?? [],
    dnsServers: dnsServers ?? null,
    log,
  });
  return [ok('settings', 'all are of the right form'), ...found];
}

const COLOURS = { ok: 'green', warning: 'yellow', broken: 'red' } as const;

/** What is found may quote other programs and file names: it is made harmless for a terminal. */
function report(findings: readonly Finding[], colours: boolean): string {
  const width = Math.max(...findings.map(({ check }) => check.length));
  return findings
    .flatMap(({ check, state, found, mend }) => {
      const label = state.padEnd('warning'.length);
      const shown = colours ? styleText(COLOURS[state], label, { validateStream: false }) : label;
      const indent = ' '.repeat('warning'.length + width + 4);
      return [
        `${shown}  ${check.padEnd(width)}  ${visible(found)}`,
        ...(mend === null ? [] : [`${indent}to mend: ${visible(mend)}`]),
      ];
    })
    .join('\n');
}
