import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { chmodSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { type CertificateWish, makeCertificateIn, opensslProblem } from '../../testing/certificate.ts';
import { missing } from '../../testing/missing.ts';
import { temporaryFolder } from '../../testing/temporary-folder.ts';
import { CertificateError, loadCertificate } from './certificate.ts';
import { inspectCertificate, judgeCertificate } from './judgement.ts';

const dayMs = 86_400_000;

function certificateTest(name: string, body: (t: TestContext, folder: string) => Promise<void>): void {
  test(name, async (t) => {
    const problem = opensslProblem();
    if (problem !== null) return missing(t, 'openssl', problem);
    await body(t, await temporaryFolder(t));
  });
}

const make = (folder: string, name: string, wish: CertificateWish = {}) => makeCertificateIn(join(folder, name), wish);

certificateTest('a pair that fits is loaded with its names and its time', async (_, folder) => {
  const loaded = await loadCertificate(make(folder, 'a', { name: 'mx.example' }));
  assert.deepEqual(loaded.names, ['mx.example']);
  assert.ok(loaded.notBefore.getTime() <= Date.now() && loaded.notAfter.getTime() > Date.now() + 29 * dayMs);
});

certificateTest(
  'each pair that cannot be used is one line that names the setting, the file and the cause',
  async (t, folder) => {
    const [one, other] = [make(folder, 'one'), make(folder, 'other')];
    const weak = make(folder, 'weak', { key: 'rsa-1024' });
    const file = (name: string, content: string): string => {
      writeFileSync(join(folder, name), content);
      return join(folder, name);
    };
    const locked = file('locked.key', '');
    spawnSync('openssl', ['pkey', '-in', one.keyFile, '-aes256', '-passout', 'pass:hunter2', '-out', locked]);
    const exchanged = file('chain.pem', other.cert + one.cert);
    const folderItself = join(folder, 'folder');
    mkdirSync(folderItself);
    const cases: [string, string, RegExp][] = [
      [join(folder, 'no.crt'), one.keyFile, /^SMTP_TLS_CERT_FILE: .*no\.crt does not exist$/],
      [one.certFile, join(folder, 'no.key'), /^SMTP_TLS_KEY_FILE: .*no\.key does not exist$/],
      [folderItself, one.keyFile, /^SMTP_TLS_CERT_FILE: .* is a folder, not a file$/],
      [one.keyFile, one.certFile, /^SMTP_TLS_CERT_FILE: .* holds a private key: are the two files exchanged\?$/],
      [file('empty.crt', ''), one.keyFile, /^SMTP_TLS_CERT_FILE: .* holds no certificate in PEM form$/],
      [one.certFile, file('empty.key', ''), /^SMTP_TLS_KEY_FILE: .* holds no private key in PEM form$/],
      [file('cut.crt', one.cert.slice(0, 200)), one.keyFile, /^SMTP_TLS_CERT_FILE: .* cannot be understood: /],
      [one.certFile, file('cut.key', one.key.slice(0, 80)), /^SMTP_TLS_KEY_FILE: .* (cannot be understood: |holds no)/],
      [one.certFile, locked, /^SMTP_TLS_KEY_FILE: .* has a passphrase: write it without one$/],
      [one.certFile, other.keyFile, /^SMTP_TLS_KEY_FILE: .* is not the key of the certificate in .*\.crt$/],
      [exchanged, one.keyFile, /^SMTP_TLS_KEY_FILE: .* is not the key .*: it fits a later one of the file/],
      [weak.certFile, weak.keyFile, /^SMTP_TLS_CERT_FILE, SMTP_TLS_KEY_FILE: .* cannot be used: .*key too small$/],
    ];
    if (process.getuid?.() !== 0) {
      const unreadable = file('secret.key', one.key);
      chmodSync(unreadable, 0);
      cases.push([one.certFile, unreadable, /^SMTP_TLS_KEY_FILE: .*secret\.key cannot be read: .* no permission/]);
    }
    for (const [certFile, keyFile, expected] of cases) {
      await assert.rejects(loadCertificate({ certFile, keyFile }), (error) => {
        assert.ok(error instanceof CertificateError, String(error));
        assert.match(error.message, expected);
        assert.doesNotMatch(error.message, /\n|hunter2|-----/);
        return true;
      });
      const [finding] = await inspectCertificate({ certFile, keyFile }, { hostNames: [] });
      assert.equal(finding?.kind, 'unusable');
    }
    t.diagnostic(`${cases.length} pairs`);
  },
);

certificateTest('expired, not yet valid, soon to expire, for another name: each is one finding', async (_, folder) => {
  const old = await loadCertificate(make(folder, 'old', { days: -1 }));
  const kinds = (loaded: typeof old, hostNames: readonly string[], now = Date.now()) =>
    judgeCertificate(loaded, { hostNames, now }).map(({ kind }) => kind);
  assert.deepEqual(kinds(old, ['mx.example']), ['expired']);
  const fresh = await loadCertificate(make(folder, 'fresh', { days: 90 }));
  assert.deepEqual(kinds(fresh, ['other.example', 'MX.example']), []);
  assert.deepEqual(kinds(fresh, ['mx.example'], Date.now() - dayMs), ['not-yet-valid']);
  assert.deepEqual(kinds(fresh, ['mx.example'], Date.now() + 70 * dayMs), []);
  assert.deepEqual(kinds(fresh, ['mx.example'], Date.now() + 80 * dayMs), ['expires-soon']);
  assert.deepEqual(kinds(fresh, ['orders.example'], Date.now() + 91 * dayMs), ['expired', 'other-name']);
  const short = await loadCertificate(make(folder, 'short', { days: 6 }));
  assert.deepEqual(kinds(short, []), []);
  assert.deepEqual(kinds(short, [], Date.now() + 4.5 * dayMs), ['expires-soon']);
  const wild = await loadCertificate(make(folder, 'wild', { name: '*.orders.example' }));
  assert.deepEqual(kinds(wild, ['mx.orders.example']), []);
  for (const { message } of judgeCertificate(fresh, { hostNames: ['x.example'], now: Date.now() + 85 * dayMs }))
    assert.match(
      message,
      /^SMTP_TLS_CERT_FILE: the certificate in \/.*(, in 4 days: renew it|is for mx\.example, not for x\.example: .*)$/,
    );
  assert.ok(readFileSync(old.files.certFile).length > 0);
});
