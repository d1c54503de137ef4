import { statfs } from 'node:fs/promises';
import { cpus, loadavg, release, totalmem, type } from 'node:os';
import { UsageError } from './options.ts';
import type { Machine } from './result.ts';

/** By the magic number of statfs(2). */
const FILE_SYSTEMS: Readonly<Record<number, string>> = {
  61267: 'ext4',
  1481003842: 'xfs',
  2435016766: 'btrfs',
  801189825: 'zfs',
  2035054128: 'overlay',
  16914836: 'tmpfs',
  2240043254: 'ramfs',
};
const IN_MEMORY = ['tmpfs', 'ramfs'];

/** Errors: UsageError for a folder in memory, where a sync costs nothing and the figures mean nothing. */
export async function describeMachine(dir: string): Promise<Omit<Machine, 'postgres'>> {
  const magic = (await statfs(dir)).type;
  const fileSystem = FILE_SYSTEMS[magic] ?? `file system ${magic.toString(16)}`;
  if (IN_MEMORY.includes(fileSystem))
    throw new UsageError(`${dir} is in memory (${fileSystem}): choose a disk with --dir`);
  return {
    processor: cpus()[0]?.model.trim() ?? 'unknown processor',
    cores: cpus().length,
    memoryBytes: totalmem(),
    system: `${type()} ${release()}`,
    fileSystem,
    node: process.versions.node,
    loadBefore: loadavg()[0] ?? 0,
  };
}
