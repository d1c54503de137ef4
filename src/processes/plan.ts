/** Which processes `start` makes, and what runs in each. */
import type { Role } from '../cli/context.ts';
import type { Settings } from '../config/settings.ts';

export interface ChildPlan {
  /** In the log and in the list of processes: `smtp-1`, `worker`. */
  readonly name: string;
  readonly roles: readonly Role[];
}

export interface ProcessPlan {
  /** What runs in the process that was started. */
  readonly here: readonly Role[];
  readonly children: readonly ChildPlan[];
}

/**
 * One process does everything, or one looks after the others: several that take mail on one port, and one that reads it,
 * so that a mail which is hard to read costs no sender a reply. HTTP stays with the first: one `/metrics`, one `/readyz`.
 */
export function planProcesses(roles: readonly Role[], processes: number): ProcessPlan {
  if (processes === 1 || !roles.includes('smtp')) return { here: roles, children: [] };
  const smtp = Array.from(
    { length: processes },
    (_, index): ChildPlan => ({ name: `smtp-${index + 1}`, roles: ['smtp'] }),
  );
  const worker: readonly ChildPlan[] = roles.includes('worker') ? [{ name: 'worker', roles: ['worker'] }] : [];
  return { here: roles.filter((role) => role === 'http'), children: [...smtp, ...worker] };
}

/** Limits that are meant for the whole are divided: what one of `processes` may take. */
export function shareOf(settings: Settings, processes: number): Settings {
  const { smtp } = settings;
  const share = (whole: number): number => Math.ceil(whole / processes);
  return {
    ...settings,
    smtp: {
      ...smtp,
      maxConnections: share(smtp.maxConnections),
      maxConnectionsPerAddress: share(smtp.maxConnectionsPerAddress),
      maxHeldBytes: share(smtp.maxHeldBytes),
    },
  };
}
