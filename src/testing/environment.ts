/** What the tests read from the environment; everything else is given to them as arguments. */

/** Set by `npm test` for its test files: the migrated database that theirs are cloned from. */
export const TEMPLATE_VARIABLE = 'ORDERFLOW_TEST_TEMPLATE_URL';

export function templateUrl(): string | null {
  return process.env[TEMPLATE_VARIABLE] || null;
}

/** On CI nothing may be missing. */
export function onCi(): boolean {
  return ['true', '1'].includes(process.env.CI ?? '');
}

/** For a product started by a test: what a program needs to run, none of the developer's own settings. */
export function bareEnvironment(): Record<string, string> {
  const kept = ['PATH', 'HOME', 'TMPDIR', 'LANG', 'SystemRoot'];
  return Object.fromEntries(kept.flatMap((name) => (process.env[name] ? [[name, process.env[name]]] : [])));
}

export function testEnvironment(url: string): NodeJS.ProcessEnv {
  return { ...process.env, [TEMPLATE_VARIABLE]: url };
}
