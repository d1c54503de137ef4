/** What to type in another shell to run a command of this program as it is installed here. */
import { existsSync } from 'node:fs';
import { basename, delimiter, join } from 'node:path';
import type { Environment } from '../config/environment.ts';

const NAME = 'orderflow-ingest';

export interface OwnCommandOptions {
  readonly env: Environment;
  /** The path of the launcher, or of the link to it, as it was called. */
  readonly calledAs: string;
  readonly exists?: (path: string) => boolean;
}

/**
 * `npm run -s cli --` in a clone, `npx orderflow-ingest` where it is a dependency of a folder, `orderflow-ingest` where the
 * shell finds that; otherwise the path that this process was started by.
 */
export function ownCommand({ env, calledAs, exists = existsSync }: OwnCommandOptions): string {
  if (env.npm_lifecycle_event !== undefined) {
    // npm puts node_modules/.bin on the path of what it runs; the other shell has it not.
    return env.npm_package_name === NAME && env.npm_lifecycle_event !== 'npx' ? 'npm run -s cli --' : `npx ${NAME}`;
  }
  const folders = (env.PATH ?? '').split(delimiter).filter((folder) => folder !== '');
  if (folders.some((folder) => exists(join(folder, NAME)) || exists(join(folder, `${NAME}.cmd`)))) return NAME;
  const path = /^[\w./:\\-]+$/.test(calledAs) ? calledAs : `'${calledAs.replaceAll("'", "'\\''")}'`;
  return basename(calledAs) === NAME ? path : `node ${path}`;
}
