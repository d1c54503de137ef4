/** The object store of every program, files or a bucket, and the marks that are left in it. */
import { join } from 'node:path';
import { createFileStoreMarks } from '../adapters/fs/marks.ts';
import { createFileObjectStore } from '../adapters/fs/object-store.ts';
import type { Settings } from '../config/settings.ts';
import type { ObjectStore, StorePlace } from '../ports/object-store.ts';
import type { StoreMarks } from '../ports/store-marks.ts';
import type { Log } from '../telemetry/log.ts';
import { asStartError, asStartErrorOfStore } from './errors.ts';

/** Of the store that is files. */
export const objectsDir = ({ dataDir }: Settings): string => join(dataDir, 'objects');

interface OpenedObjectStore {
  readonly objects: ObjectStore;
  /** Of files only: a bucket's name leads to one bucket. */
  readonly place?: StorePlace;
  close(): Promise<void>;
}

/** For messages to the operator. */
export const placeOf = (settings: Settings): string =>
  settings.objectStorage === null
    ? `the files in ${objectsDir(settings)}`
    : `bucket ${settings.objectStorage.bucket} at ${settings.objectStorage.endpoint}`;

/** With `check`, a store that cannot be used ends the start. */
export async function openObjectStore(
  settings: Settings,
  log: Log,
  { check = false, keepLeftovers = false }: { readonly check?: boolean; readonly keepLeftovers?: boolean } = {},
): Promise<OpenedObjectStore> {
  if (settings.objectStorage === null) {
    try {
      const rootDir = objectsDir(settings);
      const { readableBy } = settings.objectFiles;
      const objects = await createFileObjectStore({ rootDir, log, keepLeftovers, readableBy });
      return { objects, place: objects, close: async () => {} };
    } catch (error) {
      throw asStartError(error);
    }
  }
  // Loaded when it is asked for: the SDK takes 40 MB and a moment.
  const { createS3ObjectStore } = await import('../adapters/s3/object-store.ts');
  try {
    const spoolDir = join(settings.dataDir, 'spool');
    const objects = await createS3ObjectStore({ settings: settings.objectStorage, spoolDir, log });
    if (check) await objects.check();
    return { objects, close: async () => objects.close() };
  } catch (error) {
    throw asStartErrorOfStore(error);
  }
}

export async function openStoreMarks(
  settings: Settings,
): Promise<{ readonly marks: StoreMarks; readonly close: () => Promise<void> }> {
  if (settings.objectStorage === null) {
    return { marks: createFileStoreMarks({ rootDir: objectsDir(settings) }), close: async () => {} };
  }
  const { createS3StoreMarks } = await import('../adapters/s3/marks.ts');
  const marks = createS3StoreMarks({ settings: settings.objectStorage });
  return { marks, close: async () => marks.close() };
}
