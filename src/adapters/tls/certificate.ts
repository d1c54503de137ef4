/** A certificate chain and its key, read from two PEM files and held against each other; time and names are judged apart. */
import { createPrivateKey, type KeyObject, X509Certificate } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { createSecureContext, DEFAULT_CIPHERS, type SecureContext, type SecureVersion } from 'node:tls';

export interface CertificateFiles {
  readonly certFile: string;
  readonly keyFile: string;
  /** Oldest version that is spoken; `TLSv1.2` when it is not given. */
  readonly minVersion?: SecureVersion;
}

export interface LoadedCertificate {
  readonly files: CertificateFiles;
  readonly certificate: X509Certificate;
  /** DNS names and addresses it is for; those of the subject when it names no alternatives. */
  readonly names: readonly string[];
  readonly notBefore: Date;
  readonly notAfter: Date;
  readonly secureContext: SecureContext;
}

/** The pair cannot be used; one line that says what to mend. */
export class CertificateError extends Error {
  override readonly name = 'CertificateError';
}

export interface CertificatePems {
  readonly cert: Buffer;
  readonly key: Buffer;
}

/** Errors: `CertificateError`. */
export async function loadCertificate(files: CertificateFiles): Promise<LoadedCertificate> {
  return parseCertificate(files, await readCertificate(files));
}

/** Errors: `CertificateError` when a file cannot be read. */
export async function readCertificate({ certFile, keyFile }: CertificateFiles): Promise<CertificatePems> {
  return { cert: await read('SMTP_TLS_CERT_FILE', certFile), key: await read('SMTP_TLS_KEY_FILE', keyFile) };
}

/** Errors: `CertificateError` when the two do not make a usable pair. */
export function parseCertificate(files: CertificateFiles, { cert, key }: CertificatePems): LoadedCertificate {
  const certificate = parseChain(files.certFile, cert);
  const privateKey = parseKey(files.keyFile, key);
  if (!certificate.checkPrivateKey(privateKey)) throw new CertificateError(mismatch(files, cert, privateKey));
  return {
    files,
    certificate,
    names: namesOf(certificate),
    notBefore: certificate.validFromDate,
    notAfter: certificate.validToDate,
    secureContext: secureContext(files, cert, key),
  };
}

async function read(setting: string, path: string): Promise<Buffer> {
  try {
    return await readFile(path);
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    throw new CertificateError(`${setting}: ${path} ${READ_PROBLEMS[code ?? ''] ?? `cannot be read: ${message}`}`);
  }
}

const READ_PROBLEMS: Readonly<Record<string, string>> = {
  ENOENT: 'does not exist',
  EACCES: 'cannot be read: this user has no permission (the folders above count too)',
  EISDIR: 'is a folder, not a file',
};

function parseChain(path: string, pem: Buffer): X509Certificate {
  const text = pem.toString('latin1');
  if (!text.includes('-----BEGIN CERTIFICATE-----') && !text.includes('-----BEGIN TRUSTED CERTIFICATE-----')) {
    const exchanged = text.includes('PRIVATE KEY-----') ? '; it holds a private key: are the two files exchanged?' : '';
    throw new CertificateError(`SMTP_TLS_CERT_FILE: ${path} holds no certificate in PEM form${exchanged}`);
  }
  try {
    return new X509Certificate(pem);
  } catch (error) {
    throw new CertificateError(`SMTP_TLS_CERT_FILE: ${path} cannot be understood: ${reasonOf(error)}`);
  }
}

function parseKey(path: string, pem: Buffer): KeyObject {
  if (!pem.includes('PRIVATE KEY-----')) {
    throw new CertificateError(`SMTP_TLS_KEY_FILE: ${path} holds no private key in PEM form`);
  }
  try {
    return createPrivateKey(pem);
  } catch (error) {
    const encrypted = pem.includes('ENCRYPTED') || (error as NodeJS.ErrnoException).code === 'ERR_MISSING_PASSPHRASE';
    const reason = encrypted ? 'has a passphrase: write it without one' : `cannot be understood: ${reasonOf(error)}`;
    throw new CertificateError(`SMTP_TLS_KEY_FILE: ${path} ${reason}`);
  }
}

function mismatch({ certFile, keyFile }: CertificateFiles, chain: Buffer, key: KeyObject): string {
  const ofAnother = `SMTP_TLS_KEY_FILE: ${keyFile} is not the key of the certificate in ${certFile}`;
  const others = chain.toString('latin1').match(/-----BEGIN CERTIFICATE-----[^-]*-----END CERTIFICATE-----/g) ?? [];
  const fits = others.some((one) => new X509Certificate(one).checkPrivateKey(key));
  return fits ? `${ofAnother}: it fits a later one of the file, and the server's own must come first` : ofAnother;
}

function namesOf(certificate: X509Certificate): readonly string[] {
  const alternatives = [...(certificate.subjectAltName ?? '').matchAll(/(?:DNS|IP Address):([^,]+)/g)];
  if (alternatives.length > 0) return alternatives.map(([, name]) => name ?? '');
  return [...certificate.subject.matchAll(/^CN=(.*)$/gm)].map(([, name]) => name ?? '');
}

/**
 * OpenSSL 3 has the SHA-1 signatures of TLS 1.0 and 1.1 at its security level 0 only. The ciphers stay Node's: its list
 * excludes what `DEFAULT` may still have.
 */
const OLD_DEVICES_CIPHERS = `${DEFAULT_CIPHERS}:@SECLEVEL=0`;
const OLD_VERSIONS: ReadonlySet<SecureVersion> = new Set(['TLSv1', 'TLSv1.1']);

function secureContext(files: CertificateFiles, cert: Buffer, key: Buffer): SecureContext {
  const { certFile, keyFile, minVersion = 'TLSv1.2' } = files;
  try {
    // Ciphers and curves are Node's defaults: they are kept up to date with it.
    const ciphers = OLD_VERSIONS.has(minVersion) ? { ciphers: OLD_DEVICES_CIPHERS } : {};
    return createSecureContext({ cert, key, minVersion, honorCipherOrder: true, ...ciphers });
  } catch (error) {
    throw new CertificateError(
      `SMTP_TLS_CERT_FILE, SMTP_TLS_KEY_FILE: ${certFile} and ${keyFile} cannot be used: ${reasonOf(error)}`,
    );
  }
}

/** OpenSSL's `error:0A00018F:SSL routines::ee key too small` without its numbers. */
function reasonOf(error: unknown): string {
  const { message } = error as Error;
  return message.split('\n')[0]?.replace(/^error:[0-9A-F]+:/i, '') ?? message;
}
