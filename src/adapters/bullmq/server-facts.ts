/** What a Redis says of itself, and what of that is wrong for a job queue. */

export interface ServerFacts {
  readonly version: string;
  /** It cannot be used at all; null when it can. */
  readonly problem: string | null;
  /** It can be used, but should be set otherwise. */
  readonly warnings: readonly string[];
}

/** Shape: from the answer to INFO. Where a managed service leaves a line out, nothing is said of it. */
export function factsOf(info: string): ServerFacts {
  const field = (name: string): string | undefined => new RegExp(`^${name}:(.*?)\\r?$`, 'm').exec(info)?.[1];
  // Valkey tells a redis_version for old clients beside its own.
  const version = field('redis_version') ?? 'unknown';
  return { version, problem: problemOf(field, version), warnings: warningsOf(field, version) };
}

type Field = (name: string) => string | undefined;

function problemOf(field: Field, version: string): string | null {
  if (olderThan(version, 5, 0)) return `is Redis ${version}; BullMQ needs 5.0, and 6.2 or newer is advised`;
  if (field('redis_mode') === 'sentinel') {
    return 'is a Redis Sentinel, which holds no jobs: REDIS_URL must name the primary, by an address that moves with it';
  }
  if (field('cluster_enabled') === '1') {
    return 'is a Redis Cluster; BullMQ jobs need a single server, with replicas if you like';
  }
  if (field('role') === 'slave') return 'is a read-only replica: REDIS_URL must name the primary';
  return null;
}

function warningsOf(field: Field, version: string): readonly string[] {
  const warnings: string[] = [];
  const policy = field('maxmemory_policy');
  if (policy !== undefined && policy !== 'noeviction') {
    warnings.push(`maxmemory-policy is ${policy}: when it is full it throws jobs away; set noeviction`);
  }
  if (field('aof_enabled') === '0') {
    warnings.push('appendonly is off: after a crash it has forgotten the jobs of the last minutes; set appendonly yes');
  }
  if (olderThan(version, 6, 2)) warnings.push(`version ${version} is old: BullMQ advises 6.2 or newer`);
  return warnings;
}

function olderThan(version: string, major: number, minor: number): boolean {
  const [ours = Number.NaN, theirs = 0] = version.split('.').map(Number);
  return ours < major || (ours === major && theirs < minor);
}
