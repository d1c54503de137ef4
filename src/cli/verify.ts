/** `reconcile --verify`: reads every object, shows how far it is, and says what is wrong with which. */
import type { Problem, ProblemCode } from '../ports/verification.ts';
import type { VerifyReport } from '../reconcile/verify.ts';
import { type CliContext, CommandFailure, type Verifier } from './context.ts';
import { createProgressBar } from './progress-bar.ts';
import { quietLog, settingsFor } from './session.ts';

/** Shown to a person; `--json` has the first 1,000. */
const SHOWN = 20;
/** A store or a database that hangs keeps nobody who has asked it to stop. What is not saved is read again. */
const STOP_DEADLINE_MS = 5_000;

export async function runVerify(
  context: CliContext,
  o: { readonly json: boolean; readonly bytesPerSecond: number | null },
): Promise<void> {
  const report = await verified(context, o.bytesPerSecond);
  const { problems, problemCount } = report.run.progress;
  if (o.json) await context.out.json(asJson(report));
  else await context.out.line(inWords(report).join('\n'));
  for (const problem of problems.slice(0, SHOWN)) await context.err.line(`warning: ${described(problem)}`);
  if (problemCount > SHOWN) {
    await context.err.line(`warning: and ${problemCount - SHOWN} more; --json has the first ${problems.length}`);
  }
  if (!report.ended) throw new CommandFailure('interrupted: run it again, and it goes on there');
  if (problemCount > 0)
    throw new CommandFailure(
      `${problemCount} ${problemCount === 1 ? 'object is not what its row says' : 'objects are not what their rows say'}`,
    );
}

/** A signal ends it in order: the place is saved. Also then it is closed: it may own a database process. */
async function verified(context: CliContext, bytesPerSecond: number | null): Promise<VerifyReport> {
  const settings = settingsFor(context, context.err);
  const compose = await context.loadCompose();
  const stopping = new AbortController();
  const late = Promise.withResolvers<never>();
  late.promise.catch(() => {});
  let deadline: NodeJS.Timeout | undefined;
  const stopListening = context.onSignal(() => {
    stopping.abort();
    deadline ??= setTimeout(() => late.reject(new CommandFailure('interrupted')), STOP_DEADLINE_MS);
  });
  const bar = createProgressBar(context.err);
  const opening = compose.openVerifier({ settings, log: await quietLog(context, settings) });
  try {
    const verifier = await opening;
    return await Promise.race([
      verifier.run({ bytesPerSecond, signal: stopping.signal, onProgress: shownBy(bar) }),
      late.promise,
    ]);
  } finally {
    stopListening();
    clearTimeout(deadline);
    await bar.clear();
    await (await opening.catch(() => null))?.close();
  }
}

/** The rate is that of this process, also where it goes on. */
function shownBy(bar: ReturnType<typeof createProgressBar>): Parameters<Verifier['run']>[0]['onProgress'] {
  const startedAt = performance.now();
  return ({ run: { total, progress }, bytesReadNow }) =>
    bar.show(total.rows === 0 ? 1 : progress.rows / total.rows, () => {
      const seconds = Math.max(0.001, (performance.now() - startedAt) / 1_000);
      const rate = `${megabytes(bytesReadNow / seconds)}/s`;
      const found = progress.problemCount === 0 ? '' : `, ${progress.problemCount} wrong`;
      return `${progress.rows} of ${total.rows} objects, ${rate}${found}`;
    });
}

const megabytes = (bytes: number): string => `${(bytes / 1_000_000).toFixed(1)} MB`;

function inWords({ run, resumed, ended }: VerifyReport): readonly string[] {
  const { rows, bytes, withoutDigest, problemCount } = run.progress;
  const since = resumed ? `, in a run that began at ${run.startedAt.toISOString()}` : '';
  return [
    `verified      ${rows} objects (${megabytes(bytes)}) read and compared with their rows${since}`,
    `wrong         ${problemCount}`,
    ...(withoutDigest > 0 ? [`no digest     ${withoutDigest} rows have none to compare with`] : []),
    ...(ended ? [] : [`still to read ${Math.max(0, run.total.rows - rows)} objects`]),
  ];
}

const WORDS: Readonly<Record<ProblemCode, (problem: Problem) => string>> = {
  missing: ({ storageKey }) => `no object ${storageKey}`,
  unreadable: ({ storageKey }) => `object ${storageKey} cannot be read`,
  'wrong-size': ({ storageKey, sizeBytes, found }) =>
    `object ${storageKey} has ${found?.sizeBytes} bytes, and not ${sizeBytes}`,
  'wrong-digest': ({ storageKey }) => `object ${storageKey} is of the right size, and has another digest`,
};

const described = (problem: Problem): string => `${problem.kind} ${problem.id}: ${WORDS[problem.problem](problem)}`;

function asJson({ run, resumed, ended }: VerifyReport): unknown {
  const { rows, bytes, withoutDigest, problemCount, problems } = run.progress;
  return {
    run_id: run.id,
    started_at: run.startedAt,
    resumed,
    ended,
    objects: { verified: rows, verified_bytes: bytes, without_digest: withoutDigest, total_at_start: run.total.rows },
    problems: problemCount,
    found: problems.map(({ kind, id, orgId, storageKey, problem, sizeBytes, sha256, found }) => ({
      problem: problem.replaceAll('-', '_'),
      kind,
      id,
      org_id: orgId,
      storage_key: storageKey,
      expected: { size_bytes: sizeBytes, sha256 },
      read: found && { size_bytes: found.sizeBytes, sha256: found.sha256 },
    })),
  };
}
