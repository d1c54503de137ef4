/** Secrets from files: `<NAME>_FILE` names the file that holds the value of `<NAME>`. */
import { resolve } from 'node:path';
import { readSecretFile, SecretFileError } from '../ports/secret-file.ts';
import { type Definition, definitions, type SettingName, settingNames } from './definition.ts';
import type { MergedEnvironment } from './environment.ts';
import { keyValueList } from './forms.ts';

const isSecret = (name: SettingName): boolean => (definitions[name] as Definition<unknown>).secret === true;

/** Besides the settings, the one of libpq's variables that is a secret (database-url.ts). */
const secretNames: readonly string[] = [...settingNames.filter(isSecret), 'PGPASSWORD'];

export const secretFileNames: readonly string[] = secretNames.map((name) => `${name}_FILE`);

/** A name alone is that of a credential, where systemd hands some over (systemd.exec(5), LoadCredential=). */
function pathOf(given: string, { values }: MergedEnvironment, cwd: string): string {
  const credentials = values.get('CREDENTIALS_DIRECTORY');
  return resolve(credentials !== undefined && !given.includes('/') ? credentials : cwd, given);
}

/** Those of `OTEL_EXPORTER_OTLP_HEADERS_FILE` as it is now. Shape: null when it cannot be read, or holds something else. */
export function readHeadersFile(path: string): Readonly<Record<string, string>> | null {
  try {
    return keyValueList.safeParse(readSecretFile(path)).data ?? null;
  } catch (error) {
    if (error instanceof SecretFileError) return null;
    throw error;
  }
}

export interface WithSecrets {
  /** With the values that the files hold. */
  readonly environment: MergedEnvironment;
  /** By the name of the setting: absolute paths, also of files that could not be read. */
  readonly files: ReadonlyMap<string, string>;
  readonly problems: readonly string[];
}

export function readSecretFiles(merged: MergedEnvironment, cwd: string): WithSecrets {
  const values = new Map(merged.values);
  const files = new Map<string, string>();
  const problems: string[] = [];
  for (const name of secretNames) {
    const given = merged.values.get(`${name}_FILE`);
    if (given === undefined) continue;
    const path = pathOf(given, merged, cwd);
    files.set(name, path);
    if (merged.values.has(name)) {
      problems.push(`${name} and ${name}_FILE are both set: keep one of them, and unset the other`);
      continue;
    }
    try {
      values.set(name, readSecretFile(path));
    } catch (error) {
      if (!(error instanceof SecretFileError)) throw error;
      problems.push(`${name}_FILE: ${path} ${error.message}`);
    }
  }
  return { environment: { ...merged, values }, files, problems };
}
