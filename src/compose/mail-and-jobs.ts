/** The roles `smtp` and `worker` in one process: started together, and stopped together. */
import type { Role, RunningPart } from '../cli/context.ts';
import type { Closers } from './closers.ts';
import type { Parts } from './parts.ts';
import { createSmtp, listen, openCertificate } from './smtp.ts';
import type { Worker } from './worker.ts';

/** How long a stop waits for mails in DATA and jobs under way. Container runtimes kill after 30 s or less. */
const STOP_GRACE_MS = 10_000;
export const MAIL_AND_JOBS = 'mail and jobs under way';

interface MailAndJobs extends Pick<RunningPart, 'smtp' | 'reload'> {}

/** In this process. Resolves when both are under way. */
export async function takeMailAndJobs(
  parts: Parts,
  roles: readonly Role[],
  worker: Worker | null,
  closers: Closers,
): Promise<MailAndJobs> {
  const certificate = roles.includes('smtp') ? await openCertificate(parts) : null;
  if (certificate !== null) closers.add('certificate', certificate.close);
  const smtp = roles.includes('smtp') ? createSmtp(parts, certificate) : null;
  // All at the same time: none waits for another to finish what it has begun.
  closers.add(MAIL_AND_JOBS, async () => {
    await Promise.all([
      smtp?.close({ graceMs: STOP_GRACE_MS }),
      worker?.jobs.stop(STOP_GRACE_MS),
      worker?.nextStage?.relay.stop(STOP_GRACE_MS),
      worker?.nextStage?.lostJobs.stop(),
    ]);
  });
  await worker?.jobs.start();
  worker?.nextStage?.relay.start();
  worker?.nextStage?.lostJobs.start();
  return {
    smtp: smtp === null ? null : await listen(smtp, parts.settings),
    reload: async () => await certificate?.reload(),
  };
}
