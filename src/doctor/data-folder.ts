/** Is DATA_DIR there, ours to write, and roomy; and does its disk keep what it says it has kept? */
import { randomUUID } from 'node:crypto';
import { access, constants, open, rm, stat, statfs } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { broken, type Finding, ok, warning } from '../ports/finding.ts';
import { judgeSync, measureSync } from './disk-sync.ts';

const MIB = 1024 * 1024;
/** Below this a handful of large mails fills it. */
const NO_ROOM_BYTES = 64 * MIB;
const LITTLE_ROOM_BYTES = 1024 * MIB;
const LITTLE_ROOM_SHARE = 0.05;
/** A percentage says nothing of a large disk. */
const ENOUGH_ROOM_BYTES = 20 * 1024 * MIB;
const FEW_INODES = 10_000;
const NO_INODES = 100;

/** By the type that statfs tells. Spec: linux/magic.h */
const MEMORY_TYPES = new Map([
  [0x01021994, 'tmpfs'],
  [0x858458f6, 'ramfs'],
]);
const OVERLAY_TYPES = new Map([[0x794c7630, 'overlayfs']]);

export async function checkDataFolder(dataDir: string): Promise<readonly Finding[]> {
  const folder = await existingFolder(dataDir);
  if ('finding' in folder) return [folder.finding];
  const written = folder.path === dataDir ? await checkWritable(dataDir) : await checkAbove(dataDir, folder.path);
  const facts = await statfs(folder.path);
  const findings = [written, ...judgeRoom(facts), ...judgeType(dataDir, facts.type)];
  if (written.state === 'broken' || MEMORY_TYPES.has(facts.type)) return findings;
  return [...findings, await checkSync(folder.path)];
}

/** The folder itself, or the nearest one above it that is there. */
async function existingFolder(dataDir: string): Promise<{ readonly path: string } | { readonly finding: Finding }> {
  for (let path = dataDir; ; path = dirname(path)) {
    try {
      if ((await stat(path)).isDirectory()) return { path };
      return { finding: broken('data folder', `${path} is a file`, 'set DATA_DIR to a folder') };
    } catch (error) {
      const code = codeOf(error);
      if (code === 'ENOTDIR' || (code === 'ENOENT' && path !== dirname(path))) continue;
      return {
        finding: broken(
          'data folder',
          `${path} cannot be looked into (${code})`,
          'let the user who runs this read it, or set DATA_DIR to another folder',
        ),
      };
    }
  }
}

/** Tried for real: groups, access lists, mount options and quotas can all say no. */
async function checkWritable(dataDir: string): Promise<Finding> {
  try {
    await withProbeFile(dataDir, async (file) => {
      await file.write(Buffer.alloc(4096));
      await file.datasync();
    });
    return ok('data folder', `${dataDir} can be written`);
  } catch (error) {
    return broken('data folder', `${dataDir} cannot be written (${codeOf(error)})`, remedyFor(codeOf(error)));
  }
}

async function checkAbove(dataDir: string, above: string): Promise<Finding> {
  try {
    await access(above, constants.W_OK | constants.X_OK);
    return ok('data folder', `${dataDir} is not there yet: start makes it`);
  } catch (error) {
    return broken(
      'data folder',
      `${dataDir} is not there, and cannot be made in ${above} (${codeOf(error)})`,
      remedyFor(codeOf(error)),
    );
  }
}

function remedyFor(code: string): string {
  if (code === 'ENOSPC' || code === 'EDQUOT') return 'free some room, or set DATA_DIR to a larger disk';
  if (code === 'EROFS') return 'mount the disk for writing, or set DATA_DIR to one that is';
  return 'make it writable for the user who runs this (chown), or set DATA_DIR to a folder of your own';
}

interface Room {
  readonly bsize: number;
  readonly blocks: number;
  readonly bavail: number;
  readonly files: number;
  readonly ffree: number;
}

export function judgeRoom({ bsize, blocks, bavail, files, ffree }: Room): readonly Finding[] {
  const free = bsize * bavail;
  const share = blocks === 0 ? 1 : bavail / blocks;
  const text = `${gib(free)} free of ${gib(bsize * blocks)}`;
  const mend = 'free some room, or set DATA_DIR to a larger disk; a full disk answers mail with 452';
  const findings = [
    free < NO_ROOM_BYTES
      ? broken('disk room', `full: ${text}`, mend)
      : free < LITTLE_ROOM_BYTES || (share < LITTLE_ROOM_SHARE && free < ENOUGH_ROOM_BYTES)
        ? warning('disk room', `nearly full: ${text}`, mend)
        : ok('disk room', text),
  ];
  // Some file systems (btrfs, many network ones) have no fixed number of files and say 0.
  if (files === 0 || ffree >= FEW_INODES) return findings;
  const few = `only ${ffree} more files can be made (inodes)`;
  return [...findings, ffree < NO_INODES ? broken('disk room', few, mend) : warning('disk room', few, mend)];
}

const gib = (bytes: number): string =>
  bytes < 1024 * MIB ? `${Math.floor(bytes / MIB)} MiB` : `${(bytes / 1024 / MIB).toFixed(1)} GiB`;

export function judgeType(dataDir: string, type: number): readonly Finding[] {
  const memory = MEMORY_TYPES.get(type);
  if (memory !== undefined) {
    return [
      warning(
        'disk',
        `${dataDir} lies in memory (${memory}): what got a 250 is gone when the machine restarts`,
        'set DATA_DIR to a folder on a disk',
      ),
    ];
  }
  if (!OVERLAY_TYPES.has(type)) return [];
  return [
    warning(
      'disk',
      `${dataDir} lies in the container's own layer (overlayfs): it goes when the container is removed`,
      'mount a volume there',
    ),
  ];
}

async function checkSync(folder: string): Promise<Finding> {
  try {
    return judgeSync(await withProbeFile(folder, measureSync));
  } catch (error) {
    return warning('disk', `its speed could not be measured (${codeOf(error)})`, 'nothing, if the rest is in order');
  }
}

/** Owns: removes the file, whatever happens. */
async function withProbeFile<T>(
  folder: string,
  use: (file: Awaited<ReturnType<typeof open>>) => Promise<T>,
): Promise<T> {
  const path = join(folder, `.orderflow-doctor-${randomUUID()}`);
  const file = await open(path, 'wx', 0o600);
  try {
    return await use(file);
  } finally {
    await file.close();
    await rm(path, { force: true });
  }
}

const codeOf = (error: unknown): string => (error as NodeJS.ErrnoException).code ?? String(error);
