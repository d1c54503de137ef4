/** What commands are given instead of reaching for the process, the settings or an adapter themselves. */
import type { Environment } from '../config/environment.ts';
import type { Settings } from '../config/settings.ts';
import type { JobRequeue } from '../jobs/requeue.ts';
import type { Finding } from '../ports/finding.ts';
import type { MessageRetries } from '../ports/message-retries.ts';
import type { MessageViews } from '../ports/message-view.ts';
import type { ObjectStore } from '../ports/object-store.ts';
import type { BlockList, OrganisationRegister } from '../ports/organisations.ts';
import type { ReconcileReport } from '../reconcile/reconcile.ts';
import type { VerifyOptions, VerifyReport } from '../reconcile/verify.ts';
import type { Log } from '../telemetry/log.ts';
import type { MetricsSnapshot } from '../telemetry/process-metrics.ts';
import type { Output } from './output.ts';

export interface Toolbox {
  readonly organisations: OrganisationRegister;
  readonly blockList: BlockList;
  readonly messages: MessageViews;
  readonly retries: MessageRetries;
  /** Connects to the queue when it is used, for the first time. Errors: rejects with words for the operator. */
  readonly jobs: JobRequeue;
  readonly objects: ObjectStore;
  close(): Promise<void>;
}

export interface Reconciler {
  run(options: {
    readonly dryRun: boolean;
    readonly acceptMissing: boolean;
    readonly evenAfterRestore: boolean;
    readonly redeliver: { readonly actor: string } | null;
  }): Promise<ReconcileReport>;
  close(): Promise<void>;
}

export interface Verifier {
  run(options: Pick<VerifyOptions, 'bytesPerSecond' | 'signal' | 'onProgress'>): Promise<VerifyReport>;
  close(): Promise<void>;
}

export type Role = 'smtp' | 'worker' | 'http';
export const roles: readonly Role[] = ['smtp', 'worker', 'http'];

export interface RunningServer {
  readonly smtp: { readonly host: string; readonly port: number } | null;
  readonly http: { readonly host: string; readonly port: number } | null;
  readonly databaseUrl: string;
  readonly embeddedDatabase: boolean;
  /** Slug of the organisation created because there was none. */
  readonly firstOrganisation: string | null;
  /** Some slugs. */
  readonly organisations: readonly string[];
  /** Reads again what may change while the server runs: the TLS certificate. Never rejects. */
  reload(): Promise<void>;
  /** Of several processes all but the first, one after the other, while the others go on. Never rejects. */
  replaceProcesses(): Promise<void>;
  stop(): Promise<void>;
}

/** Some roles in a child process, on a database that is open and migrated. */
export interface RunningPart {
  readonly smtp: { readonly host: string; readonly port: number } | null;
  /** Resolves when its roles can do their work: a mail could be accepted, jobs are done. */
  check(): Promise<void>;
  metrics(): Promise<MetricsSnapshot>;
  /** As that of `RunningServer`. */
  reload(): Promise<void>;
  /** Never rejects. Shape: the parts that did not end in time. */
  stop(): Promise<readonly string[]>;
}

/** What `src/compose/index.ts` exports. */
export interface Compose {
  /** Without `create` it neither makes a database nor changes its schema. Errors: `NoDatabaseError`, `StartError`. */
  openToolbox(options: { settings: Settings; log: Log; create?: boolean }): Promise<Toolbox>;
  migrate(options: { settings: Settings; log: Log }): Promise<{ readonly applied: readonly string[] }>;
  /** `processes`: how many take mail on the one port. */
  startServer(options: {
    settings: Settings;
    roles: readonly Role[];
    processes: number;
    log: Log;
  }): Promise<RunningServer>;
  /** `signal`: it is to stop before it is under way. */
  startPart(options: {
    settings: Settings;
    roles: readonly Role[];
    databaseUrl: string;
    log: Log;
    signal: AbortSignal;
  }): Promise<RunningPart>;
  /** Errors: as `openToolbox`; also when another one is at work. */
  openReconciler(options: { settings: Settings; log: Log }): Promise<Reconciler>;
  /** Errors: likewise. */
  openVerifier(options: { settings: Settings; log: Log }): Promise<Verifier>;
  /** What `doctor` says. Never rejects. */
  examine(options: {
    settings: Settings;
    log: Log;
    threadPoolSize: string | undefined;
    createBucket: boolean;
    adoptStore: boolean;
    roles: readonly Role[];
    processes: number;
    mailDomains: readonly string[];
    dnsServers: readonly string[] | null;
  }): Promise<readonly Finding[]>;
  /** The part of it that needs no setting. */
  examineHost(options: { threadPoolSize: string | undefined }): Promise<readonly Finding[]>;
  readonly StartError: abstract new (...given: never[]) => Error;
  /** A `StartError`: there is nothing to look at. */
  readonly NoDatabaseError: abstract new (
    ...given: never[]
  ) => Error;
}

export interface CliContext {
  readonly env: Environment;
  readonly cwd: string;
  /** What to type to run a command of this program: `own-command.ts`. */
  readonly ownCommand: string;
  /** Data only. */
  readonly out: Output;
  /** Everything else. */
  readonly err: Output;
  /** Late, so that `--help` need not load the product. */
  loadCompose(): Promise<Compose>;
  /** SIGTERM and SIGINT. Shape: returns how to stop listening. */
  onSignal(handler: (signal: NodeJS.Signals) => void): () => void;
  /** SIGHUP, which would end the process otherwise. Shape: returns how to stop listening. */
  onReload(handler: () => void): () => void;
  /** SIGUSR2, likewise. */
  onReplace(handler: () => void): () => void;
  /** For a server, before it starts anything. Never rejects. */
  scheduleAsBatch(): Promise<unknown>;
  /** For a second signal only: nothing more is flushed or closed. */
  exitNow(code: number): void;
  /** How long `send` follows a message. */
  readonly followDeadlineMs: number;
}

/** The command cannot be done as asked, for a reason the user understands: one or more lines, exit 1. */
export class CommandFailure extends Error {
  constructor(message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'CommandFailure';
  }
}

/** The command was used wrongly: one or more lines, exit 2. */
export class UsageError extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'UsageError';
  }
}
