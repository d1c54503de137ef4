/** The program `reconcile --verify`: the database, on which only one of them may be at work, and the object store, only read. */
import { tryVerifyLock } from '../adapters/postgres/advisory-lock.ts';
import { createPostgresVerification } from '../adapters/postgres/verification.ts';
import type { Verifier } from '../cli/context.ts';
import type { Settings } from '../config/settings.ts';
import { verify } from '../reconcile/verify.ts';
import type { Log } from '../telemetry/log.ts';
import { asStartErrorOfStore } from './errors.ts';
import { openMaintenance } from './maintenance.ts';

/** Opens what `reconcile --verify` works with. Errors: `NoDatabaseError`, `StartError`. */
export function openVerifier(o: { readonly settings: Settings; readonly log: Log }): Promise<Verifier> {
  const about = {
    command: 'reconcile --verify',
    applicationName: 'orderflow-verify',
    tryLock: tryVerifyLock,
    checkStore: false,
  };
  return openMaintenance({ ...o, ...about }, ({ pool, objects, watch }, closers) => {
    const rows = createPostgresVerification({ pool });
    return {
      run: (options) =>
        verify({ objects, rows, watch, log: o.log, ...options }).catch((error: unknown) => {
          throw asStartErrorOfStore(error);
        }),
      close: async () => void (await closers.closeAll()),
    };
  });
}
