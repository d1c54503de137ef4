import type { Command } from 'commander';
import type { CliContext } from './context.ts';
import { quietLog, settingsFor } from './session.ts';

export function addMigrateCommand(program: Command, context: CliContext): void {
  program
    .command('migrate')
    .description('bring the database schema up to date; safe to repeat, also when several run at once')
    .addHelpText(
      'after',
      `
Example:
  $ DATABASE_URL=postgresql://orderflow:…@db.example.com/orderflow orderflow-ingest migrate`,
    )
    .action(async () => {
      const settings = settingsFor(context, context.err);
      const compose = await context.loadCompose();
      const { applied } = await compose.migrate({ settings, log: await quietLog(context, settings) });
      for (const name of applied) await context.out.line(`applied ${name}`);
      await context.err.line(applied.length === 0 ? 'the schema is up to date already' : 'the schema is up to date');
    });
}
