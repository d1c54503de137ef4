import { statfs } from 'node:fs/promises';
import type { DiskSpace } from '../../telemetry/metrics.ts';

/** Shape: null when there is no such folder. Errors: those of the file system. */
export async function readDiskSpace(folder: string): Promise<DiskSpace | null> {
  try {
    const { bavail, blocks, bsize } = await statfs(folder);
    return { freeBytes: bavail * bsize, sizeBytes: blocks * bsize };
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw error;
  }
}
