/**
 * As whom PostgreSQL runs. It refuses to run as root, and a first try in a container is nearly always root.
 *
 * An ordinary user runs it as itself. Root drops to the owner of the cluster or, for a new one, to `postgres` or
 * `nobody`, when that user can reach both the programs and the cluster (not so below /root); else it stays root in
 * the kernel's eyes and looks like `nobody` to PostgreSQL through a user namespace. The same namespace serves a user
 * id without an entry in /etc/passwd, which initdb cannot bear.
 */
import { execFile } from 'node:child_process';
import { lchown, lstat, readdir, readFile, stat } from 'node:fs/promises';
import { userInfo } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { codeOf, EmbeddedPostgresError } from './error.ts';

export interface Launch {
  readonly file: string;
  readonly args: readonly string[];
  readonly options: { readonly uid?: number; readonly gid?: number };
}

export interface Account {
  readonly name: string;
  /** The owner its files need; null when whatever we create is right already. */
  readonly owner: Owner | null;
  launch(program: string, args: readonly string[]): Launch;
}

interface Owner {
  readonly uid: number;
  readonly gid: number;
}

interface Place {
  /** The folder that holds the cluster; must exist. */
  readonly homeDir: string;
  /** May not exist yet. */
  readonly clusterDir: string;
  readonly postgres: string;
}

const NOBODY_ID = 65534;

/** Errors: `EmbeddedPostgresError` when no way is open. */
export async function chooseAccount(place: Place): Promise<Account> {
  const uid = process.getuid?.();
  if (uid === undefined) return self();
  const present = await ownerOf(place.clusterDir);
  if (uid !== 0) return ordinaryAccount(place, uid, present);
  const candidates = await accountsFor(present);
  for (const candidate of candidates) if (await reaches(candidate, place)) return candidate;
  const foreign = candidates.find(({ name }) => name.startsWith('uid '));
  if (foreign) {
    throw new EmbeddedPostgresError(
      `the cluster in ${place.clusterDir} belongs to ${foreign.name}, who cannot reach it or ${place.postgres}; run as that user, or chown the cluster to root`,
    );
  }
  throw new EmbeddedPostgresError(
    `PostgreSQL refuses to run as root, and neither the user postgres or nobody can reach ${place.homeDir} and ${place.postgres}, nor are user namespaces allowed here; run as an ordinary user, move both out of private folders such as /root, or set DATABASE_URL to a PostgreSQL of your own`,
  );
}

async function ordinaryAccount(place: Place, uid: number, present: Owner | null): Promise<Account> {
  if (present && present.uid !== uid) {
    throw new EmbeddedPostgresError(
      `the cluster in ${place.clusterDir} belongs to another user (uid ${present.uid}${present.uid === 0 ? ', root' : ''}); run as that user, chown the folder, or set DATA_DIR to a folder of your own`,
    );
  }
  if (isListed()) return self();
  const account = await inNamespace();
  if (await reaches(account, place)) return account;
  throw new EmbeddedPostgresError(
    `the user id ${uid} has no entry in /etc/passwd, which PostgreSQL needs, and user namespaces are not allowed here; add the entry, or set DATABASE_URL to a PostgreSQL of your own`,
  );
}

/** The order in which root tries: what the cluster already is comes first, so that nothing is handed over needlessly. */
async function accountsFor(present: Owner | null): Promise<readonly Account[]> {
  const known = await Promise.all(['postgres', 'nobody'].map(listedUser));
  const dropped = known.flatMap((user) => (user ? [dropTo(user.name, user)] : []));
  const namespaced = await inNamespace();
  if (!present) return [...dropped, namespaced];
  if (present.uid === 0) return [namespaced, ...dropped];
  const owner = dropped.find((account) => account.owner?.uid === present.uid);
  return owner ? [owner, namespaced] : [dropTo(`uid ${present.uid}`, present)];
}

function self(): Account {
  return { name: 'itself', owner: null, launch: (file, args) => ({ file, args, options: {} }) };
}

function dropTo(name: string, { uid, gid }: Owner): Account {
  return { name, owner: { uid, gid }, launch: (file, args) => ({ file, args, options: { uid, gid } }) };
}

async function inNamespace(): Promise<Account> {
  const nobody = await listedUser('nobody');
  const flags = ['--user', `--map-user=${nobody?.uid ?? NOBODY_ID}`, `--map-group=${nobody?.gid ?? NOBODY_ID}`, '--'];
  const uid = process.getuid?.() ?? 0;
  const gid = process.getgid?.() ?? 0;
  return {
    name: 'user namespace',
    owner: { uid, gid },
    launch: (program, args) => ({ file: 'unshare', args: [...flags, program, ...args], options: {} }),
  };
}

/** Tried for real, because groups, access lists and mount options can all say no. */
async function reaches(account: Account, place: Place): Promise<boolean> {
  const { file, args, options } = account.launch('/bin/sh', [
    '-c',
    'cd "$1" && "$2" --version',
    'sh',
    place.homeDir,
    place.postgres,
  ]);
  return promisify(execFile)(file, [...args], { ...options, cwd: '/' }).then(
    () => true,
    () => false,
  );
}

/**
 * Hands a folder and all in it to the account; nothing when the account owns it already. The folder itself comes
 * last, so that a hand-over that was cut short is taken up again.
 */
export async function handOver(path: string, { owner }: Account): Promise<void> {
  if (!owner) return;
  try {
    const facts = await lstat(path);
    if (facts.uid !== owner.uid) await chownTree(path, owner);
  } catch (error) {
    if (codeOf(error) !== 'ENOENT') throw error; // Another process was first, and its server removed a file.
  }
}

async function chownTree(path: string, owner: Owner): Promise<void> {
  const facts = await lstat(path);
  if (facts.isDirectory()) for (const name of await readdir(path)) await chownTree(join(path, name), owner);
  await lchown(path, owner.uid, owner.gid);
}

async function ownerOf(path: string): Promise<Owner | null> {
  return stat(path).then(
    ({ uid, gid }) => ({ uid, gid }),
    () => null,
  );
}

async function listedUser(name: string): Promise<(Owner & { readonly name: string }) | null> {
  const passwd = await readFile('/etc/passwd', 'utf8').catch(() => '');
  const fields = passwd
    .split('\n')
    .map((line) => line.split(':'))
    .find(([entry]) => entry === name);
  return fields ? { name, uid: Number(fields[2]), gid: Number(fields[3]) } : null;
}

function isListed(): boolean {
  try {
    userInfo();
    return true;
  } catch {
    return false;
  }
}
