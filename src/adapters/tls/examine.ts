/** What `doctor` says of the certificate. */
import { broken, type Finding, ok, warning } from '../../ports/finding.ts';
import type { CertificateFiles } from './certificate.ts';
import { type CertificateFinding, inspectCertificate, type JudgementOptions } from './judgement.ts';

const CHECK = 'certificate';

export async function examineCertificate(
  files: CertificateFiles,
  options: JudgementOptions,
): Promise<readonly Finding[]> {
  const findings = await inspectCertificate(files, options);
  if (findings.length === 0) return [ok(CHECK, `${files.certFile} is valid${forWhom(options)}`)];
  return findings.map(({ kind, message }) => {
    const { state, mend } = VERDICTS[kind];
    return state === 'broken' ? broken(CHECK, message, mend) : warning(CHECK, message, mend);
  });
}

function forWhom({ mxHosts = [], hostNames }: JudgementOptions): string {
  if (mxHosts.length > 0) return `, and for ${mxHosts.join(', ')}, as the MX record has it`;
  // Mail comes by way of another server, which knows us by a name of its own.
  return hostNames.length > 0 ? ', and for one of our domains' : '';
}

const RENEW = 'renew it; a running server takes the new files by itself';

const VERDICTS: Readonly<
  Record<CertificateFinding['kind'], { readonly state: 'warning' | 'broken'; readonly mend: string }>
> = {
  unusable: {
    state: 'broken',
    mend: 'set SMTP_TLS_CERT_FILE and SMTP_TLS_KEY_FILE to a pair that can be read and belongs together',
  },
  expired: { state: 'broken', mend: RENEW },
  'not-yet-valid': { state: 'broken', mend: 'set the clock, or use a certificate whose time has come' },
  'expires-soon': { state: 'warning', mend: RENEW },
  // Senders look for the name in the MX record, which need not be a domain of ours.
  'other-name': {
    state: 'warning',
    mend: 'let the MX record of your domains name a host of the certificate, or get one for yours',
  },
  'other-mx': {
    state: 'warning',
    mend: 'get a certificate for that host (subjectAltName), or let the MX record name a host of this one',
  },
};
