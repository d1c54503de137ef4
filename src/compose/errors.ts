/** What a program says when it cannot run as it is asked to, and which errors of the parts are said so. */
import { EmbeddedPostgresError } from '../adapters/embedded-postgres/embedded-postgres.ts';
import { DatabaseConnectError } from '../adapters/postgres/connect.ts';
import { MigrationError } from '../adapters/postgres/migrate.ts';
import { CertificateError } from '../adapters/tls/certificate.ts';
import { ListenError } from '../http/listen-error.ts';
import { StoreError } from '../ports/object-store.ts';
import { ChildFailedError } from '../processes/child-process.ts';
import { ClockError, StoreLostError } from '../reconcile/reconcile.ts';

/** The product cannot run as configured; one line or more for the operator. */
export class StartError extends Error {}

/** Something did not come to its end in time; nothing acknowledged is lost by that. */
export class StopError extends StartError {}

/** Only looking, and there is nothing to look at: making an empty database would read like lost mails. */
export class NoDatabaseError extends StartError {}

/** Errors whose message is made for the operator become `StartError`; others are ours and stay what they are. */
export function asStartError(error: unknown): unknown {
  if (error instanceof StoreError) {
    return new StartError(`DATA_DIR: the object store cannot be used: ${error.message}`, { cause: error });
  }
  const forTheOperator =
    error instanceof EmbeddedPostgresError ||
    error instanceof DatabaseConnectError ||
    error instanceof MigrationError ||
    error instanceof ClockError ||
    error instanceof StoreLostError ||
    error instanceof CertificateError ||
    (error instanceof ChildFailedError && error.forOperator) ||
    error instanceof ListenError;
  return forTheOperator ? new StartError(error.message, { cause: error }) : error;
}

/** As `asStartError`, where the object store may be another than that of DATA_DIR. */
export function asStartErrorOfStore(error: unknown): unknown {
  if (!(error instanceof StoreError)) return asStartError(error);
  return new StartError(`the object store cannot be used: ${error.message}`, { cause: error });
}
