/** The role `smtp`: the SMTP server, its certificate, and the rooms that a mail passes before 250. */
import { createPostgresMessageStore } from '../adapters/postgres/message-store.ts';
import { createPostgresBlockList, createPostgresOrganisations } from '../adapters/postgres/organisations.ts';
import { type WatchedCertificate, watchCertificate } from '../adapters/tls/watched-certificate.ts';
import type { Settings } from '../config/settings.ts';
import { createIntake } from '../intake/intake.ts';
import { createSmtpObserver } from '../intake/observer.ts';
import { createRecorder } from '../messages/recorder.ts';
import { createRawStore } from '../rawstore/index.ts';
import { createRouter } from '../routing/index.ts';
import { createSmtpServer } from '../smtp/index.ts';
import { visibleBeginning } from '../telemetry/visible-text.ts';
import { StartError } from './errors.ts';
import type { Parts } from './parts.ts';

/**
 * A large mail goes to a remote store after its last byte, in its turn: a hundred of 25 MB are 25 s of a Gbit/s line.
 * RFC 5321 §4.5.3.2.6: the client waits 10 min. A store that does not answer is given up by the store's own limits.
 */
const REMOTE_STORE_TIMEOUT_MS = 120_000;

/**
 * Of one mail: the piece that is gathered (256 KiB), its header (128 KiB) and the chunk in hand (128 KiB). The library keeps the
 * sum over all connections below a bound (`memory-places.ts`).
 */
const INTAKE_BYTES = 512 * 1024;

/** null: no TLS is wanted. */
export async function openCertificate({ settings, log, metrics }: Parts): Promise<WatchedCertificate | null> {
  if (settings.smtp.tls === null) return null;
  const inUse = ({ notAfter }: { readonly notAfter: Date }): void => metrics.tlsCertificateInUse(notAfter);
  return watchCertificate({ ...settings.smtp.tls, log, inUse });
}

export function createSmtp(
  { settings, log, lines, metrics, tracing, objects, storeGuard, pools, courtesy }: Parts,
  certificate: WatchedCertificate | null,
): ReturnType<typeof createSmtpServer> {
  const router = createRouter({
    domains: settings.smtp.domains,
    postmasterOrg: settings.smtp.postmasterOrg,
    organisations: createPostgresOrganisations({ pool: pools.intake }),
    blockedSenders: createPostgresBlockList({ pool: pools.intake }),
  });
  return createSmtpServer({
    receiver: createIntake({
      router,
      rawStore: createRawStore({ objects, log }),
      recorder: createRecorder({ store: createPostgresMessageStore({ pool: pools.intake }) }),
      log,
      metrics,
      tracing,
      lines,
      storeGuard,
    }),
    hostName: settings.smtp.domains[0] ?? 'localhost',
    limits: {
      maxMessageBytes: settings.smtp.maxMessageBytes,
      maxConnections: settings.smtp.maxConnections,
      maxConnectionsPerAddress: settings.smtp.maxConnectionsPerAddress,
      maxRecipients: settings.smtp.maxRecipients,
      maxHeldBytes: settings.smtp.maxHeldBytes,
      maxReceiverBytes: INTAKE_BYTES,
      ...(settings.objectStorage !== null && { receiverTimeoutMs: REMOTE_STORE_TIMEOUT_MS }),
    },
    ...(certificate !== null && {
      tls: { secureContext: certificate.secureContext, required: settings.smtp.requireTls },
    }),
    proxyProtocolFrom: settings.smtp.proxyProtocolFrom,
    observer: createSmtpObserver({
      log,
      metrics,
      tracing,
      lines,
      clean: visibleBeginning,
      mailSeen: courtesy.mailSeen,
    }),
  });
}

export async function listen(
  smtp: ReturnType<typeof createSmtpServer>,
  settings: Settings,
): Promise<{ readonly host: string; readonly port: number }> {
  const { host, port } = settings.smtp;
  try {
    const bound = await smtp.listen({ host, port });
    return { host: bound.address, port: bound.port };
  } catch (error) {
    throw listenError(error, { host, port });
  }
}

export function listenError(error: unknown, { host, port }: { readonly host: string; readonly port: number }): unknown {
  const reason = LISTEN_REASONS[(error as NodeJS.ErrnoException).code ?? ''];
  if (reason === undefined) return error;
  return new StartError(`SMTP_HOST, SMTP_PORT: cannot listen on ${host}:${port}: ${reason}`, { cause: error });
}

const LISTEN_REASONS: Readonly<Record<string, string>> = {
  EADDRINUSE: 'another program, or this server already running, has that port; choose a free SMTP_PORT',
  EACCES: 'no permission for that port; choose an SMTP_PORT of 1024 or more, or allow the process to bind low ports',
  EADDRNOTAVAIL: 'it is not an address of this machine; choose 127.0.0.1, 0.0.0.0 or one that is',
  ENOTFOUND: 'the name cannot be resolved; choose 127.0.0.1, 0.0.0.0 or a name that can',
};
