import assert from 'node:assert/strict';
import { mkdirSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import pino from 'pino';
import { makeCertificateIn, opensslProblem, type TestCertificate } from '../../testing/certificate.ts';
import { cleanUp } from '../../testing/clean-up.ts';
import { missing } from '../../testing/missing.ts';
import { temporaryFolder } from '../../testing/temporary-folder.ts';
import { waitFor } from '../../testing/wait-for.ts';
import { watchCertificate } from './watched-certificate.ts';

interface Watched {
  readonly folder: string;
  /** Where the server reads. */
  readonly live: { readonly certFile: string; readonly keyFile: string };
  readonly names: readonly string[];
  lines(level: string): readonly string[];
  put(pair: TestCertificate): void;
  reload(): Promise<void>;
  /** Several looks later. */
  afterLooks(): Promise<void>;
}

async function watched(
  t: TestContext,
  o: { pollMs?: number; now?: () => number; link?: boolean } = {},
): Promise<Watched> {
  const folder = await temporaryFolder(t);
  const first = makeCertificateIn(join(folder, 'first'), { name: 'first.example' });
  const live = { certFile: join(folder, 'live', 'tls.crt'), keyFile: join(folder, 'live', 'tls.key') };
  if (o.link === true) symlinkSync(join(folder, 'first'), join(folder, 'live'));
  else mkdirSync(join(folder, 'live'));
  const put = (pair: TestCertificate): void => {
    // As certbot and cert-manager do: a new file takes the old one's name.
    for (const [path, pem] of [
      [live.keyFile, pair.key],
      [live.certFile, pair.cert],
    ] as const) {
      writeFileSync(`${path}.new`, pem);
      renameSync(`${path}.new`, path);
    }
  };
  if (o.link !== true) put(first);
  const names: string[] = [];
  const written: { level: string; msg: string }[] = [];
  let looks = 0;
  const log = pino(
    { level: 'debug', base: null, formatters: { level: (level) => ({ level }) } },
    { write: (line) => void written.push(JSON.parse(line)) },
  );
  const watching = await watchCertificate({
    ...live,
    log,
    pollMs: o.pollMs ?? 5,
    clock: () => {
      looks++;
      return o.now?.() ?? Date.now();
    },
    inUse: (certificate) => names.push(certificate.names[0] ?? ''),
  });
  cleanUp(t, watching.close);
  return {
    folder,
    live,
    names,
    put,
    lines: (level) => written.filter((line) => line.level === level).map(({ msg }) => msg),
    reload: watching.reload,
    afterLooks: async () => {
      const until = looks + 6;
      await waitFor(() => looks >= until, { what: 'some looks', intervalMs: 2 });
    },
  };
}

function watchTest(name: string, body: (t: TestContext) => Promise<void>): void {
  test(name, (t) => {
    const problem = opensslProblem();
    return problem === null ? body(t) : missing(t, 'openssl', problem);
  });
}

const renewed = (folder: string, name = 'second.example', days = 30): TestCertificate =>
  makeCertificateIn(join(folder, name), { name, days });

watchTest('files that change are served soon, without being asked', async (t) => {
  const { folder, names, put } = await watched(t);
  put(renewed(folder));
  await waitFor(() => names.length === 2, { what: 'the new certificate' });
  assert.deepEqual(names, ['first.example', 'second.example']);
});

watchTest('a symbolic link that is turned to other files counts as a change', async (t) => {
  const { folder, names } = await watched(t, { link: true });
  renewed(folder);
  symlinkSync(join(folder, 'second.example'), join(folder, 'turned'));
  renameSync(join(folder, 'turned'), join(folder, 'live'));
  await waitFor(() => names.length === 2, { what: 'the new certificate' });
});

watchTest('a broken new pair is told once, and the old one stays until a good one comes', async (t) => {
  const { folder, names, put, lines, live, afterLooks } = await watched(t);
  const [second, third] = [renewed(folder), renewed(folder, 'third.example')];
  writeFileSync(live.certFile, second.cert);
  await waitFor(() => lines('error').length > 0, { what: 'the error' });
  await afterLooks();
  assert.equal(lines('error').length, 1);
  assert.match(
    lines('error')[0] ?? '',
    /is not the key of the certificate in .* \(the certificate before stays in use\)$/,
  );
  rmSync(live.certFile);
  await waitFor(() => lines('error').length > 1, { what: 'the next error' });
  assert.match(lines('error')[1] ?? '', /^SMTP_TLS_CERT_FILE: .* does not exist \(the/);
  assert.deepEqual(names, ['first.example']);
  put(third);
  await waitFor(() => names.length === 2, { what: 'the good certificate' });
  assert.deepEqual(names, ['first.example', 'third.example']);
});

watchTest('asked to, it looks at once and always says what came of it', async (t) => {
  const { folder, names, put, lines, live, reload } = await watched(t, { pollMs: 3_600_000 });
  await reload();
  assert.equal(lines('info').at(-1), 'TLS certificate unchanged');
  put(renewed(folder));
  await reload();
  assert.deepEqual(names, ['first.example', 'second.example']);
  rmSync(live.keyFile);
  await reload();
  await reload();
  assert.equal(lines('error').length, 2);
});

watchTest('an expired one does not replace one that is not', async (t) => {
  const { folder, names, put, lines, reload } = await watched(t, { pollMs: 3_600_000 });
  put(renewed(folder, 'old.example', -1));
  await reload();
  assert.deepEqual(names, ['first.example']);
  assert.match(lines('error')[0] ?? '', /expired on .*: renew it \(the certificate before stays in use\)$/);
});

watchTest('one that grows old while it is in use is told when it does: soon, and when it is over', async (t) => {
  let now = Date.now();
  const { lines, afterLooks } = await watched(t, { now: () => now });
  await afterLooks();
  assert.deepEqual(lines('warn'), []);
  now += 25 * 86_400_000;
  await afterLooks();
  now += 25 * 86_400_000;
  await afterLooks();
  assert.equal(lines('warn').length, 2);
  assert.match(lines('warn')[0] ?? '', /expires on .*, in 4 days: renew it$/);
  assert.match(lines('warn')[1] ?? '', /expired on .*: renew it$/);
});
