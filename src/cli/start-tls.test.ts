import assert from 'node:assert/strict';
import { once } from 'node:events';
import { join } from 'node:path';
import { test } from 'node:test';
import { connect } from 'node:tls';
import * as compose from '../compose/index.ts';
import { makeCertificateIn, opensslProblem } from '../testing/certificate.ts';
import { cleanUp } from '../testing/clean-up.ts';
import { createTestDatabase } from '../testing/database.ts';
import { freePort } from '../testing/free-port.ts';
import { missing } from '../testing/missing.ts';
import { startProduct } from '../testing/product.ts';
import { connectSmtp } from '../testing/smtp-client.ts';
import { temporaryFolder } from '../testing/temporary-folder.ts';
import { createTestCli } from './test-context.ts';

test('a certificate that cannot be used ends the start with one line; TLS wanted without one is a wrong setting', async (t) => {
  const problem = opensslProblem();
  if (problem !== null) return missing(t, 'openssl', problem);
  const cwd = await temporaryFolder(t);
  const database = await createTestDatabase();
  cleanUp(t, database.close);
  const [one, other] = [makeCertificateIn(join(cwd, 'one')), makeCertificateIn(join(cwd, 'other'))];
  const start = async (cert: string, key: string) => {
    const tls = { SMTP_TLS_CERT_FILE: cert, SMTP_TLS_KEY_FILE: key };
    const env = {
      DATABASE_URL: database.url,
      DATA_DIR: cwd,
      LOG_LEVEL: 'silent',
      SMTP_PORT: String(await freePort()),
      ...tls,
    };
    return createTestCli({ compose, cwd, env }).run('start', '--roles', 'smtp');
  };
  const gone = await start('no.crt', one.keyFile);
  assert.deepEqual([gone.code, gone.stderr], [1, `error: SMTP_TLS_CERT_FILE: ${cwd}/no.crt does not exist\n`]);
  const mixed = await start(one.certFile, other.keyFile);
  assert.equal(mixed.code, 1);
  assert.match(mixed.stderr, /^error: SMTP_TLS_KEY_FILE: \S+ is not the key of the certificate in \S+\n$/);
  const env = { SMTP_REQUIRE_TLS: 'true' };
  const without = await createTestCli({ compose, cwd, env }).run('start');
  assert.deepEqual([without.code, without.stdout], [2, '']);
  assert.match(without.stderr, /SMTP_REQUIRE_TLS is "true": needs SMTP_TLS_CERT_FILE and SMTP_TLS_KEY_FILE/);
});

test('a certificate that has expired is a warning at the start, and is served', async (t) => {
  const problem = opensslProblem();
  if (problem !== null) return missing(t, 'openssl', problem);
  const dataDir = await temporaryFolder(t);
  const { certFile, keyFile } = makeCertificateIn(join(dataDir, 'tls'), { days: -1 });
  const env = { SMTP_TLS_CERT_FILE: certFile, SMTP_TLS_KEY_FILE: keyFile, SMTP_REQUIRE_TLS: 'true' };
  const product = await startProduct(t, { dataDir, env });
  const warnings = product.log.filter(
    ({ level, msg }) => level === 'warn' && /expired on .*: renew it$/.test(String(msg)),
  );
  assert.equal(warnings.length, 1);
  const client = await connectSmtp({ port: product.smtpPort });
  await client.readReply('greeting');
  await client.command('EHLO client.example');
  assert.equal((await client.command('STARTTLS')).code, 220);
  const secure = connect({ socket: client.socket, rejectUnauthorized: false });
  await once(secure, 'secureConnect');
  secure.end();
  await product.stop();
});
