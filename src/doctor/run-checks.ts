/** Runs all checks at the same time, each with a deadline of its own: what hangs is a finding, not the end of the rest. */
import { broken, type Finding } from '../ports/finding.ts';

export interface Check {
  readonly name: string;
  /** Default: `CHECK_DEADLINE_MS`. */
  readonly deadlineMs?: number;
  /** Errors: a rejection is a finding too; what is known to go wrong is better said by the check itself. */
  run(signal: AbortSignal): Promise<readonly Finding[]>;
}

/** Longer than the five seconds that connecting to a database or a store may take. */
export const CHECK_DEADLINE_MS = 10_000;

/** In the order of the checks. Never rejects. */
export async function runChecks(checks: readonly Check[]): Promise<readonly Finding[]> {
  return (await Promise.all(checks.map(runCheck))).flat();
}

async function runCheck({ name, deadlineMs = CHECK_DEADLINE_MS, run }: Check): Promise<readonly Finding[]> {
  const abort = new AbortController();
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<readonly Finding[]>((resolve) => {
    timer = setTimeout(() => {
      abort.abort(new Error(`no answer within ${deadlineMs} ms`));
      resolve([broken(name, `does not answer within ${seconds(deadlineMs)}`, 'see what keeps it from answering')]);
    }, deadlineMs);
  });
  try {
    return await Promise.race([run(abort.signal), late]);
  } catch (error) {
    const reason = error instanceof Error ? error.message || error.name : String(error);
    return [broken(name, `could not be looked at: ${reason.split('\n', 1)[0]}`, 'mend that, and ask again')];
  } finally {
    clearTimeout(timer);
  }
}

const seconds = (durationMs: number): string => `${durationMs / 1000} ${durationMs === 1000 ? 'second' : 'seconds'}`;
