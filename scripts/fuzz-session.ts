/**
 * Fuzzes SMTP sessions: `npm run fuzz:session -- [--lines 1000000] [--seed N] [--dialogue N]`.
 *
 * Clients say commands good and bad, whole and cut, mails by DATA and BDAT, STARTTLS and PROXY headers to the real server
 * over real sockets, and a model of RFC 5321 that knows nothing of its code follows each session: every command gets
 * exactly one reply of an allowed class, in order, or the session ends; no mail is taken without its end; what was taken is
 * what was sent; memory is bounded. A finding is shortened and printed with what has it again; it makes it exit 1.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { createSecureContext } from 'node:tls';
import { makeCertificateIn, opensslProblem } from '../src/testing/certificate.ts';
import { makeTemporaryFolder, removeFolder } from '../src/testing/temporary-folder.ts';
import { describeFuzz } from '../test/session-fuzz/describe-fuzz.ts';
import { fuzzSessions, maxHeapGrowthBytes } from '../test/session-fuzz/session-fuzz.ts';
import { countArgument, scriptCommand } from './script-command.ts';

const options = scriptCommand('fuzz:session', 'SMTP sessions made wrong at random, against a model of RFC 5321')
  .option('--lines <lines>', 'how many', countArgument, 1_000_000)
  .option('--seed <seed>', 'the same sessions again', countArgument, (Date.now() % 1_000_000) + 1)
  .option('--dialogue <number>', 'only this session of the seed', (text) => (text === '0' ? 0 : countArgument(text)))
  .parse()
  .opts<{ readonly lines: number; readonly seed: number; readonly dialogue?: number }>();

const openssl = opensslProblem();
if (openssl !== null) throw new Error(`openssl is missing: ${openssl}`);
const folder = await makeTemporaryFolder();
try {
  const { certFile, keyFile } = makeCertificateIn(join(folder, 'tls'));
  const secureContext = createSecureContext({ cert: readFileSync(certFile), key: readFileSync(keyFile) });
  const begun = performance.now();
  const report = await fuzzSessions({ ...options, secureContext });
  console.log(describeFuzz(report, options.seed));
  console.log(`${((performance.now() - begun) / 1000).toFixed(0)} s`);
  const { early, late } = report.heapBytes;
  // 0: it ended before the heap was looked at.
  const grown = early > 0 && late - early > maxHeapGrowthBytes;
  if (grown) console.log('the heap has grown');
  if (report.findings.length > 0 || grown) process.exitCode = 1;
} finally {
  await removeFolder(folder);
}
