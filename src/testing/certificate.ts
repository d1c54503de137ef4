/** Certificates for tests, made with openssl on the spot: none is checked in that could run out. */
import { spawnSync } from 'node:child_process';
import { mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { makeTemporaryFolder, removeFolder } from './temporary-folder.ts';

export interface TestCertificate {
  readonly certFile: string;
  readonly keyFile: string;
  /** PEM */
  readonly cert: string;
  readonly key: string;
}

export interface CertificateWish {
  readonly name?: string;
  /** From now; -1: it ran out yesterday. */
  readonly days?: number;
  readonly key?: 'ec' | 'rsa-1024';
}

const WHY = 'apt-get install openssl';

/** For `missing`: why there can be no certificate here, or null. */
export function opensslProblem(): string | null {
  return spawnSync('openssl', ['version']).status === 0 ? null : WHY;
}

export async function makeCertificate(t: TestContext, wish: CertificateWish = {}): Promise<TestCertificate> {
  const folder = await makeTemporaryFolder();
  t.after(() => removeFolder(folder));
  return makeCertificateIn(join(folder, 'tls'), wish);
}

/** Self-signed; `folder` is made. */
export function makeCertificateIn(folder: string, wish: CertificateWish = {}): TestCertificate {
  const { name = 'mx.example', days = 30, key = 'ec' } = wish;
  mkdirSync(folder, { recursive: true });
  const [certFile, keyFile, request] = ['tls.crt', 'tls.key', 'request.pem'].map((file) => join(folder, file)) as [
    string,
    string,
    string,
  ];
  const algorithm = key === 'ec' ? ['ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1'] : ['rsa:1024'];
  const alternative = ['-addext', `subjectAltName=DNS:${name}`];
  openssl(
    'req',
    '-new',
    '-newkey',
    ...algorithm,
    '-nodes',
    '-subj',
    `/CN=${name}`,
    ...alternative,
    '-keyout',
    keyFile,
    '-out',
    request,
  );
  openssl(
    'x509',
    '-req',
    '-in',
    request,
    '-signkey',
    keyFile,
    '-copy_extensions',
    'copy',
    '-days',
    String(days),
    '-out',
    certFile,
  );
  return { certFile, keyFile, cert: readFileSync(certFile, 'utf8'), key: readFileSync(keyFile, 'utf8') };
}

function openssl(...args: string[]): void {
  const { status, stderr, error } = spawnSync('openssl', args, { encoding: 'utf8' });
  if (status !== 0) throw new Error(`openssl ${args[0]}: ${stderr ?? error?.message ?? ''}`);
}
