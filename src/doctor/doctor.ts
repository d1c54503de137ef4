/**
 * Looks at everything the product needs, and says what to mend. Changes nothing: what it writes it removes.
 * The parts behind ports are looked at by their adapters, which `compose/doctor.ts` gives it as probes.
 */
import type { Settings } from '../config/settings.ts';
import type { Finding } from '../ports/finding.ts';
import { checkDataFolder } from './data-folder.ts';
import { checkClock, checkDescriptors, checkMemory, checkNode, checkThreads, readDescriptorLimit } from './host.ts';
import { checkHttpPort, checkPortsDiffer, checkSmtpPort } from './listeners.ts';
import type { Check } from './run-checks.ts';

/** What needs no setting. */
export function hostChecks(o: { readonly threadPoolSize: string | undefined }): readonly Check[] {
  return [
    check('node', async () => [checkNode(process.version)]),
    check('memory', async () => [checkMemory(process.constrainedMemory())]),
    check('threads', async () => [checkThreads(o.threadPoolSize)]),
    check('clock', async () => [checkClock(new Date())]),
  ];
}

/** `probes` come last: they take longest, and what they say is read first at the bottom of a terminal. */
export function settingsChecks(settings: Settings, probes: readonly Check[]): readonly Check[] {
  const { smtp, http, dataDir } = settings;
  return [
    check('descriptors', async () => [checkDescriptors(await readDescriptorLimit(), smtp.maxConnections)]),
    check('smtp port', async () => [await checkSmtpPort(smtp)]),
    check('http port', async () => [await checkHttpPort(http), ...checkPortsDiffer(smtp, http)]),
    check('data folder', () => checkDataFolder(dataDir)),
    ...probes,
  ];
}

const check = (name: string, run: () => Promise<readonly Finding[]>): Check => ({ name, run });
