/** What is to be said of a certificate that can be used: whether its time has come, or is over, and whom it is for. */
import { CertificateError, type CertificateFiles, type LoadedCertificate, loadCertificate } from './certificate.ts';

export interface CertificateFinding {
  readonly kind: 'unusable' | 'expired' | 'not-yet-valid' | 'expires-soon' | 'other-name' | 'other-mx';
  /** One line for the operator. */
  readonly message: string;
}

export interface JudgementOptions {
  /** Names that senders may reach this server by; one of them will do. Empty: names are not judged. */
  readonly hostNames: readonly string[];
  /** Names that MX records have for it: it must be for each. Given, and not empty, they are judged instead. */
  readonly mxHosts?: readonly string[];
  /** Units: milliseconds since 1970. */
  readonly now?: number;
}

const dayMs = 86_400_000;
/** Or a third of its whole life: those that live six days are renewed every four. */
const soonMs = 14 * dayMs;

/** For a look from outside: also a pair that cannot be used is a finding, not an error. */
export async function inspectCertificate(
  files: CertificateFiles,
  options: JudgementOptions,
): Promise<readonly CertificateFinding[]> {
  try {
    return judgeCertificate(await loadCertificate(files), options);
  } catch (error) {
    if (!(error instanceof CertificateError)) throw error;
    return [{ kind: 'unusable', message: error.message }];
  }
}

export function judgeCertificate(loaded: LoadedCertificate, options: JudgementOptions): readonly CertificateFinding[] {
  const { hostNames, mxHosts = [], now = Date.now() } = options;
  const name = mxHosts.length > 0 ? mxFinding(loaded, mxHosts) : nameFinding(loaded, hostNames);
  return [timeFinding(loaded, now), name].filter((finding) => finding !== null);
}

function timeFinding(loaded: LoadedCertificate, now: number): CertificateFinding | null {
  const { notBefore, notAfter } = loaded;
  const which = `SMTP_TLS_CERT_FILE: the certificate in ${loaded.files.certFile}`;
  const leftMs = notAfter.getTime() - now;
  if (leftMs < 0) return { kind: 'expired', message: `${which} expired on ${written(notAfter)}: renew it` };
  if (notBefore.getTime() > now) {
    const message = `${which} is not valid before ${written(notBefore)}: is the clock of this machine right?`;
    return { kind: 'not-yet-valid', message };
  }
  if (leftMs > Math.min(soonMs, (notAfter.getTime() - notBefore.getTime()) / 3)) return null;
  const days = Math.floor(leftMs / dayMs);
  const left = days === 0 ? 'less than a day' : `${days} ${days === 1 ? 'day' : 'days'}`;
  return { kind: 'expires-soon', message: `${which} expires on ${written(notAfter)}, in ${left}: renew it` };
}

function nameFinding({ certificate, names, files }: LoadedCertificate, hostNames: readonly string[]) {
  if (hostNames.length === 0 || hostNames.some((name) => certificate.checkHost(name) !== undefined)) return null;
  const message =
    `SMTP_TLS_CERT_FILE: the certificate in ${files.certFile} is for ${names.join(', ') || 'no name'}, ` +
    `not for ${hostNames.join(', ')}: right only when the MX record names one of the former`;
  return { kind: 'other-name', message } as const;
}

/** Spec: RFC 6125 §6.4, as RFC 8461 §4.1 asks senders to compare: wildcards count. */
function mxFinding({ certificate, names, files }: LoadedCertificate, mxHosts: readonly string[]) {
  const absent = mxHosts.filter((name) => certificate.checkHost(name) === undefined);
  if (absent.length === 0) return null;
  const message =
    `SMTP_TLS_CERT_FILE: the certificate in ${files.certFile} is for ${names.join(', ') || 'no name'}, ` +
    `not for ${absent.join(', ')}, which MX records name: senders that compare them do not deliver`;
  return { kind: 'other-mx', message } as const;
}

const written = (date: Date): string => date.toISOString().replace(/\.\d+Z$/, 'Z');
