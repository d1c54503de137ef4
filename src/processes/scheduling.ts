/**
 * How Linux shares the processors out to the server. Nearly every hand-over to the thread pool or to PostgreSQL wakes a
 * thread, and under the ordinary policy whoever was woken may interrupt the main thread at once, only to wait for what
 * that is just about to do. As a batch (SCHED_BATCH) nobody of ours interrupts anybody: everyone runs to the point where
 * it waits. Shares of processor time stay as they are, and no privilege is needed.
 * Spec: sched(7)
 */
import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';

const SCHED_OTHER = 0;
/** `policy` in /proc/PID/stat, counted behind the name, which may hold anything. Spec: proc_pid_stat(5) */
const POLICY_FIELD_BEHIND_NAME = 38;
const CHRT_TIMEOUT_MS = 2_000;

/**
 * Asks Linux to schedule a process, with all its threads and whatever it starts from now on, as a batch. Who was given
 * another policy than the ordinary one keeps it. Never rejects: without Linux or `chrt` all is as before.
 * Shape: whether it is a batch now.
 */
export async function scheduleAsBatch(pid: number = process.pid): Promise<boolean> {
  if (process.platform !== 'linux' || (await policyOf(pid)) !== SCHED_OTHER) return false;
  return new Promise((resolve) => {
    const args = ['--batch', '--all-tasks', '--pid', '0', String(pid)];
    execFile('chrt', args, { timeout: CHRT_TIMEOUT_MS }, (failure) => resolve(failure === null));
  });
}

async function policyOf(pid: number): Promise<number | null> {
  const stat = await readFile(`/proc/${pid}/stat`, 'latin1').catch(() => null);
  const behindName = stat?.slice(stat.lastIndexOf(')') + 2).split(' ');
  return behindName === undefined ? null : Number(behindName[POLICY_FIELD_BEHIND_NAME]);
}
