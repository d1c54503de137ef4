/** The processes of a product's embedded PostgreSQL, to be stopped, continued and killed. Linux only. */
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';

/** The postmaster first, then its children. */
export async function postgresProcesses(dataDir: string): Promise<readonly number[]> {
  const pidFile = await readFile(join(dataDir, 'postgres', 'data', 'postmaster.pid'), 'utf8');
  const postmaster = Number.parseInt(pidFile, 10);
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name)).map(Number);
  const parents = await Promise.all(pids.map(parentOf));
  return [postmaster, ...pids.filter((_, index) => parents[index] === postmaster)];
}

async function parentOf(pid: number): Promise<number | null> {
  // The second field is the name in brackets and may hold anything; the parent is the second after it.
  const stat = await readFile(`/proc/${pid}/stat`, 'latin1').catch(() => '');
  return Number(stat.slice(stat.lastIndexOf(')') + 1).split(' ')[2]) || null;
}

export function signalAll(pids: readonly number[], signal: NodeJS.Signals): void {
  for (const pid of pids) {
    try {
      process.kill(pid, signal);
    } catch {
      // It has ended meanwhile.
    }
  }
}
