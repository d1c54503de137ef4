/** The only place that touches `process.env`, and the `.env` file beside it. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseEnv } from 'node:util';

export type Environment = Readonly<Record<string, string | undefined>>;

/**
 * The environment as it was given. libpq's variables are taken out of the process's own, because the driver, the programs of
 * PostgreSQL and our child processes would read them there: `PGSSLMODE` meant for another database would reach the
 * embedded one. What counts of them comes back in `DATABASE_URL` (database-url.ts).
 */
export function processEnvironment(): Environment {
  const given = { ...process.env };
  for (const name of Object.keys(given)) if (name.startsWith('PG')) delete process.env[name];
  return given;
}

/** Shape: null when there is no such file. Errors: throws when it is there and cannot be read. */
export type ReadEnvFile = (path: string) => string | null;

export const readEnvFileFromDisk: ReadEnvFile = (path) => {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw error;
  }
};

export interface MergedEnvironment {
  /** Set names only: an empty or blank value counts as not set, everywhere. Values are trimmed. */
  readonly values: ReadonlyMap<string, string>;
  readonly fromFile: ReadonlySet<string>;
  readonly problems: readonly string[];
}

/** The real environment wins over the file, name by name. */
export function mergeEnvironment(options: {
  env: Environment;
  cwd: string;
  readEnvFile: ReadEnvFile;
}): MergedEnvironment {
  const problems: string[] = [];
  const values = new Map<string, string>();
  const fromFile = new Set<string>();
  for (const [name, text] of Object.entries(fileValues(options.cwd, options.readEnvFile, problems))) {
    if (!isSet(text)) continue;
    values.set(name, text.trim());
    fromFile.add(name);
  }
  for (const [name, text] of Object.entries(options.env)) {
    if (!isSet(text)) continue;
    values.set(name, text.trim());
    fromFile.delete(name);
  }
  return { values, fromFile, problems };
}

const isSet = (text: string | undefined): text is string => text !== undefined && text.trim() !== '';

function fileValues(cwd: string, readEnvFile: ReadEnvFile, problems: string[]): NodeJS.Dict<string> {
  try {
    const text = readEnvFile(join(cwd, '.env'));
    return text === null ? {} : parseEnv(text.replace(/^\uFEFF/, ''));
  } catch (error) {
    const reason = (error as NodeJS.ErrnoException).code ?? 'unknown fault';
    problems.push(`.env cannot be read (${reason}): make it a readable text file or remove it`);
    return {};
  }
}
