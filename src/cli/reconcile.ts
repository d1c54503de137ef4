import type { Command } from 'commander';
import type { ReconcileReport } from '../reconcile/reconcile.ts';
import { actor } from './actor.ts';
import { rateArgument } from './arguments.ts';
import { type CliContext, CommandFailure, UsageError } from './context.ts';
import { quietLog, settingsFor } from './session.ts';
import { runVerify } from './verify.ts';

interface Options {
  readonly dryRun?: true;
  readonly json?: true;
  readonly acceptMissing?: true;
  readonly evenAfterRestore?: true;
  readonly redeliver?: true;
  readonly verify?: true;
  /** Bytes a second. */
  readonly rate?: number;
}

/** Keys and ids shown to a person; `--json` has up to 1,000 keys and 10,000 rows. */
const SHOWN = 20;

export function addReconcileCommand(program: Command, context: CliContext): void {
  program
    .command('reconcile')
    .description('find and mend what a crash can leave; safe while servers run')
    .option('--dry-run', 'change nothing, only say what would be done')
    .option('--accept-missing', 'go on although many objects are missing, or the database was restored')
    .option('--redeliver', 'hand in again the mails whose rows a restore of the database has lost')
    .option('--even-after-restore', 'remove also objects whose rows a restore of the database may have lost')
    .option('--verify', 'read every object and compare it with its row; changes nothing, goes on after a stop')
    .option('--rate <MB/s>', 'with --verify: read no faster than that, such as 20 or 0.5', rateArgument)
    .option('--json', 'print JSON')
    .addHelpText(
      'after',
      `
Objects that no row names and that are older than a day are removed: nobody was told 250 for them. Those that a restore
of the database may have made rowless are kept and listed, whatever their age: they may be acknowledged mail. --redeliver
hands these in again, each to its organisation and once, however often it is run. Messages whose raw mail is gone become
FAILED; messages that lost their job get a new one. Ends with 1 when an object is missing.
--verify proves it byte for byte: size and digest of every object of every row. Stopped or killed, it goes on where it was
when it is run again, and tells in the end what was found before the stop as well. Ends with 1 when anything is wrong.

Examples:
  $ orderflow-ingest reconcile --dry-run
  $ orderflow-ingest reconcile --redeliver
  $ orderflow-ingest reconcile --verify --rate 20
  $ orderflow-ingest reconcile --json`,
    )
    .action(async (options: Options) => runReconcile(context, options));
}

async function runReconcile(context: CliContext, options: Options): Promise<void> {
  if (options.verify) {
    const { dryRun, acceptMissing, redeliver, evenAfterRestore } = options;
    if (dryRun || acceptMissing || redeliver || evenAfterRestore) {
      throw new UsageError('--verify mends nothing: it goes with --rate and --json only');
    }
    return await runVerify(context, { json: options.json === true, bytesPerSecond: options.rate ?? null });
  }
  if (options.rate !== undefined) throw new UsageError('--rate is how fast --verify reads: it goes with --verify only');
  if (options.redeliver && options.evenAfterRestore) {
    throw new UsageError(
      '--redeliver first; --even-after-restore removes what is then left, once somebody has looked at it',
    );
  }
  const report = await reconciled(context, options);
  if (options.json) await context.out.json(asJson(report));
  else await context.out.line(inWords(report).join('\n'));
  for (const line of warnings(report)) await context.err.line(`warning: ${line}`);
  const failure = failureOf(report);
  if (failure !== null) throw new CommandFailure(failure);
}

/** Also on Ctrl-C it is closed: it may own a database process. */
async function reconciled(context: CliContext, options: Options): Promise<ReconcileReport> {
  const settings = settingsFor(context, context.err);
  const compose = await context.loadCompose();
  const interruption = Promise.withResolvers<never>();
  interruption.promise.catch(() => {});
  const stopListening = context.onSignal(() => interruption.reject(new CommandFailure('interrupted')));
  const opening = compose.openReconciler({ settings, log: await quietLog(context, settings) });
  try {
    const reconciler = await opening;
    const running = reconciler.run({
      dryRun: options.dryRun === true,
      acceptMissing: options.acceptMissing === true,
      evenAfterRestore: options.evenAfterRestore === true,
      redeliver: options.redeliver ? { actor: actor() } : null,
    });
    return await Promise.race([running, interruption.promise]);
  } finally {
    stopListening();
    await (await opening.catch(() => null))?.close();
  }
}

function inWords(report: ReconcileReport): readonly string[] {
  const { rows, orphans, leftovers, jobs, failed, dryRun } = report;
  if (report.stopped !== null) return [`${rows.looked} rows looked at, nothing changed`];
  const [removed, added, became] = dryRun ? ['to remove', 'to add', 'would become'] : ['removed', 'added', 'became'];
  const keptCount = Object.values(orphans.kept).reduce((sum, count) => sum + count, 0);
  return [
    `rows          ${rows.looked} looked at, ${rows.missing} without their object, ${failed.length} messages ${became} FAILED`,
    `objects       ${orphans.looked} looked at, ${orphans.removed} without a row ${removed} (${orphans.removedBytes} bytes), ${keptCount} without a row kept, ${orphans.young} younger than a day, ${orphans.foreign} not ours`,
    ...redeliveryInWords(report),
    `leftovers     ${leftovers} unfinished files ${removed}`,
    `jobs          ${jobs} missing ones ${added}`,
    ...(dryRun ? ['dry run: nothing was changed'] : []),
  ];
}

function redeliveryInWords({ redelivery, dryRun }: ReconcileReport): readonly string[] {
  if (redelivery === null) return [];
  const { planned, accepted, duplicate, conflict, refused } = redelivery;
  if (dryRun) return [`redelivery    ${planned} mails to hand in again`];
  return [
    `redelivery    ${accepted} mails handed in again, ${duplicate} were there already, ${conflict} kept aside as conflicts, ${refused} refused by the database`,
  ];
}

function warnings({ orphans, missing }: ReconcileReport): readonly string[] {
  const { kept } = orphans;
  const lines = missing.slice(0, SHOWN).map(({ kind, id, storageKey }) => `${kind} ${id}: no object ${storageKey}`);
  if (kept['after-restore'] > 0) {
    const documents = kept['after-restore'] - orphans.keptMails;
    lines.push(
      `${kept['after-restore']} objects without a row are kept (${orphans.keptMails} mails, ${documents} documents): the database has no memory of their time (restored from a backup?), so they may be mail that got a 250. --redeliver hands the mails in again; --even-after-restore removes what is left`,
    );
  }
  if (kept['unknown-organisation'] > 0) {
    lines.push(
      `${kept['unknown-organisation']} objects are of organisations that this database does not know, and are kept: is it the right store?`,
    );
  }
  if (kept['being-extracted'] > 0) {
    lines.push(
      `${kept['being-extracted']} objects wait for messages that are still to be extracted; the next run looks again`,
    );
  }
  for (const { key, reason } of orphans.keptKeys.slice(0, SHOWN)) lines.push(`kept (${reason}): ${key}`);
  return lines;
}

function failureOf({ stopped, rows, failed, dryRun }: ReconcileReport): string | null {
  if (stopped !== null) {
    const missing = rows.looked === 0 ? '' : ` (${rows.missing} of ${rows.looked})`;
    const onPurpose =
      rows.looked === 0 ? 'if it is, run: doctor --adopt-store' : '--accept-missing goes on all the same';
    return `${stopped}${missing}: nothing was changed. Is the store mounted, and the bucket right? ${onPurpose}`;
  }
  if (rows.missing === 0) return null;
  const became = dryRun ? 'would become' : 'became';
  return `${rows.missing} objects are missing from the store; ${failed.length} messages ${became} FAILED`;
}

function asJson(report: ReconcileReport): unknown {
  const { rows, orphans, leftovers, jobs, failed, missing, stopped, dryRun } = report;
  return {
    dry_run: dryRun,
    stopped,
    rows: {
      looked_at: rows.looked,
      missing_objects: rows.missing,
      failed: failed.length,
      failed_ids: failed.slice(0, 10_000),
      missing: missing.map(({ kind, id, orgId, storageKey }) => ({ kind, id, org_id: orgId, storage_key: storageKey })),
    },
    objects: {
      looked_at: orphans.looked,
      younger_than_a_day: orphans.young,
      not_ours: orphans.foreign,
      removed: orphans.removed,
      removed_bytes: orphans.removedBytes,
      removed_keys: orphans.removedKeys,
      kept: {
        after_restore: orphans.kept['after-restore'],
        after_restore_mails: orphans.keptMails,
        unknown_organisation: orphans.kept['unknown-organisation'],
        being_extracted: orphans.kept['being-extracted'],
      },
      kept_keys: orphans.keptKeys.map(({ key, reason }) => ({ key, reason: reason.replaceAll('-', '_') })),
    },
    redelivered: report.redelivery && {
      planned: report.redelivery.planned,
      accepted: report.redelivery.accepted,
      duplicates: report.redelivery.duplicate,
      conflicts: report.redelivery.conflict,
      refused: report.redelivery.refused,
      ids: report.redelivery.ids,
    },
    leftovers: { removed: leftovers },
    jobs: { added: jobs },
  };
}
