/** A backup as an operator takes it: a base backup of the running database, a copy of the running object store. */
import { chmod, mkdir, readdir, readFile, rename, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import pg from 'pg';
import { type ClusterPaths, clusterPaths } from '../../src/adapters/embedded-postgres/cluster.ts';

/** What a server makes anew, or what belongs to the running one. `pg_wal` is copied last. */
const NOT_COPIED = /^(postmaster\.(pid|opts)|pg_(wal|replslot|notify|dynshmem|stat_tmp|subtrans)\/.*)$/;
/** Without files in them, but expected. */
const EMPTY_FOLDERS: readonly string[] = [
  ...['pg_wal/archive_status', 'pg_wal/summaries', 'pg_logical/snapshots', 'pg_logical/mappings'],
  ...['commit_ts', 'dynshmem', 'notify', 'replslot', 'serial', 'snapshots', 'stat', 'stat_tmp', 'subtrans'].map(
    (name) => `pg_${name}`,
  ),
  ...['pg_tblspc', 'pg_twophase'],
];
const WAL_SEGMENT = /^[0-9A-F]{24}$/;

/** What an administrator gives the login that takes backups. */
export const BACKUP_RIGHTS =
  'GRANT EXECUTE ON FUNCTION pg_backup_start(text, boolean), pg_backup_stop(boolean) TO orderflow';
/** The copy of the WAL comes last and must still find all of it. */
export const BACKUP_SETTINGS: readonly string[] = ['wal_keep_size=1GB'];

/** Spec: PostgreSQL's "Making a Base Backup Using the Low Level API". Holds no mail up. */
export async function backUpDatabase(o: { url: string; paths: ClusterPaths; to: string }): Promise<void> {
  const { clusterDir, passwordFile } = o.paths;
  const client = new pg.Client({ connectionString: o.url, application_name: 'backup' });
  await client.connect();
  try {
    await client.query("SELECT pg_backup_start('backup', true)");
    for (const name of await filesIn(clusterDir))
      if (!NOT_COPIED.test(name)) await copy(join(clusterDir, name), join(o.to, name));
    const { rows } = await client.query<{ labelfile: string }>('SELECT * FROM pg_backup_stop(false)');
    await writeFile(join(o.to, 'backup_label'), rows[0]?.labelfile ?? '');
  } finally {
    await client.end();
  }
  await copy(passwordFile, `${o.to}.password`);
  for (const folder of EMPTY_FOLDERS) await mkdir(join(o.to, folder), { recursive: true });
  for (const name of await readdir(join(clusterDir, 'pg_wal')))
    if (WAL_SEGMENT.test(name)) await copy(join(clusterDir, 'pg_wal', name), join(o.to, 'pg_wal', name));
}

export async function backUpObjects(o: { objectsDir: string; to: string }): Promise<void> {
  await mkdir(o.to, { recursive: true });
  // Each mark is an empty folder.
  for (const mark of await readdir(join(o.objectsDir, '+seen')))
    await mkdir(join(o.to, '+seen', mark), { recursive: true });
  for (const name of await filesIn(o.objectsDir))
    if (!name.startsWith('+incoming/')) await copy(join(o.objectsDir, name), join(o.to, name));
}

/** Moves both to where a product looks for them. */
export async function restore(o: { database: string; objects: string; dataDir: string }): Promise<void> {
  const { homeDir, clusterDir, passwordFile } = clusterPaths(o.dataDir);
  await mkdir(homeDir, { recursive: true });
  await rename(o.database, clusterDir);
  await rename(`${o.database}.password`, passwordFile);
  await chmod(clusterDir, 0o700); // PostgreSQL starts in no other.
  await rename(o.objects, join(o.dataDir, 'objects'));
}

async function filesIn(folder: string): Promise<readonly string[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  return entries
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(folder.length + 1));
}

/** One that went away meanwhile is none of the backup. */
async function copy(from: string, to: string): Promise<void> {
  await mkdir(dirname(to), { recursive: true });
  // Not copyFile: as root it keeps the owner of files, but not that of folders.
  const bytes = await readFile(from).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'ENOENT') throw error;
    return null;
  });
  if (bytes !== null) await writeFile(to, bytes, { mode: 0o600 });
}
