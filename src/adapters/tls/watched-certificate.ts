/**
 * The certificate in use, renewed while the server runs: its files are read again every two seconds, and at once when
 * asked. Watching them for events would miss renames, the symbolic links Kubernetes changes, and network file systems;
 * two small files are cheap to read.
 *
 * Files that differ are tried when two looks in a row found them alike: a renewal writes the one after the other. What
 * cannot be used is told once, and the pair before stays in use.
 */
import { createHash } from 'node:crypto';
import type { SecureContext } from 'node:tls';
import type { Log } from '../../telemetry/log.ts';
import {
  CertificateError,
  type CertificateFiles,
  type CertificatePems,
  type LoadedCertificate,
  parseCertificate,
  readCertificate,
} from './certificate.ts';
import { type CertificateFinding, judgeCertificate } from './judgement.ts';

export interface WatchedCertificate {
  /** Of the pair in use now. */
  secureContext(): SecureContext;
  /** Looks at once, and says in the log what came of it. Never rejects. */
  reload(): Promise<void>;
  close(): Promise<void>;
}

export interface WatchOptions extends CertificateFiles {
  readonly log: Log;
  readonly pollMs?: number;
  /** Units: milliseconds since 1970. */
  readonly clock?: () => number;
  /** At the first, and at every other that comes into use. */
  readonly inUse?: (certificate: LoadedCertificate) => void;
}

/** Errors: `CertificateError` when the first pair cannot be used. One that is out of time can: senders hardly look. */
export async function watchCertificate(o: WatchOptions): Promise<WatchedCertificate> {
  const { log, pollMs = 2_000, clock = Date.now, inUse } = o;
  const files: CertificateFiles = o;
  const first = await readCertificate(files);
  let current = parseCertificate(files, first);
  /** What was tried last, and what the last look found: contents, or the reason why there are none. */
  let tried = fingerprint(first);
  let seen = tried;
  let told: CertificateFinding['kind'] | null = null;
  let looking: Promise<void> = Promise.resolve();

  function adopt(fresh: LoadedCertificate): void {
    current = fresh;
    told = null;
    inUse?.(fresh);
    const { names, notAfter, certificate } = fresh;
    log.info({ names, not_after: notAfter, fingerprint256: certificate.fingerprint256 }, 'TLS certificate in use');
    tellTime();
  }

  /** Once for each change: a certificate also grows old while it is in use. */
  function tellTime(): void {
    const [finding = null] = judgeCertificate(current, { hostNames: [], now: clock() });
    if (finding !== null && finding.kind !== told) log.warn(finding.message);
    told = finding?.kind ?? null;
  }

  function attempt(found: CertificatePems | CertificateError): void {
    try {
      if (found instanceof CertificateError) throw found;
      const fresh = parseCertificate(files, found);
      if (fresh.notAfter.getTime() < clock() && current.notAfter.getTime() >= clock()) {
        const [finding] = judgeCertificate(fresh, { hostNames: [], now: clock() });
        throw new CertificateError(finding?.message ?? 'expired');
      }
      adopt(fresh);
    } catch (error) {
      if (!(error instanceof CertificateError)) throw error;
      log.error(`${error.message} (the certificate before stays in use)`);
    }
  }

  async function look(asked: boolean): Promise<void> {
    const found = await readCertificate(files).catch((error: unknown) => {
      if (error instanceof CertificateError) return error;
      throw error;
    });
    const [before, now] = [seen, fingerprint(found)];
    seen = now;
    if (now === tried && asked && !(found instanceof CertificateError)) log.info('TLS certificate unchanged');
    if (asked ? now !== tried || found instanceof CertificateError : now !== tried && now === before) {
      tried = now;
      attempt(found);
    }
    tellTime();
  }

  /** One after the other. */
  function lookNext(asked: boolean): Promise<void> {
    looking = looking
      .then(() => look(asked))
      .catch((error: unknown) => log.error({ err: error }, 'looking at the TLS certificate'));
    return looking;
  }

  adopt(current);
  const timer = setInterval(() => void lookNext(false), pollMs).unref();
  return {
    secureContext: () => current.secureContext,
    reload: () => lookNext(true),
    async close() {
      clearInterval(timer);
      await looking;
    },
  };
}

function fingerprint(found: CertificatePems | CertificateError): string {
  return found instanceof CertificateError
    ? found.message
    : createHash('sha256').update(found.cert).update('\0').update(found.key).digest('hex');
}
