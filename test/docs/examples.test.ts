/**
 * Every example of README.md and docs/: run here, held by a test elsewhere, or named with the reason why it is not run.
 * An example that is new, or gone, fails until this list says what becomes of it.
 */
import assert from 'node:assert/strict';
import { execFile, spawnSync } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { pathToFileURL } from 'node:url';
import { promisify } from 'node:util';
import { pino } from 'pino';
import { loadSettings } from '../../src/config/load.ts';
import { createReadiness } from '../../src/http/readiness.ts';
import { NotReadyError } from '../../src/ports/not-ready.ts';
import { missing } from '../../src/testing/missing.ts';
import { startProduct } from '../../src/testing/product.ts';
import { temporaryFolder } from '../../src/testing/temporary-folder.ts';
import { assertHolds, type Holder, pages, ROOT, textOf } from './pages.ts';

const run = promisify(execFile);
const DEADLINE_MS = 30_000;

interface Example {
  readonly page: string;
  readonly language: string;
  readonly text: string;
}

type Care =
  | { readonly here: true }
  | Holder
  /** Not run: why. */
  | { readonly not: string };

const POSTFIX = { file: 'test/receiving/postfix.test.ts', title: 'Postfix as docs/receiving.md has it hands mail on' };
const EXIM = { file: 'test/receiving/exim.test.ts', title: 'Exim as docs/receiving.md has it hands mail on' };

/** By page and the beginning of the example. */
const EXAMPLES: readonly (readonly [page: string, beginning: string, care: Care])[] = [
  [
    'README.md',
    'npm ci\nnpm start',
    { file: 'test/specification/end-to-end.test.ts', title: 'FR-ORQ-003, SC-002, on' },
  ],
  [
    'README.md',
    "echo 'sku;amount' > order.csv\nnpm run -s cli -- send",
    { file: 'src/cli/send.test.ts', title: 'a slug becomes its address, the reply is printed' },
  ],
  ['README.md', 'swaks --server', { file: 'test/specification/end-to-end.test.ts', title: 'by swaks without types' }],
  [
    'README.md',
    'npm install --global',
    { file: 'test/packaging/package.test.ts', title: 'works for another user than the one who installed it' },
  ],
  ['README.md', 'npm test', { not: 'it runs this test' }],
  ['docs/architecture.md', 'client ', { not: 'a drawing' }],
  [
    'docs/deployment.md',
    'CREATE ROLE orderflow LOGIN',
    { file: 'test/deployment/database.test.ts', title: 'a database that … has made as the page says' },
  ],
  [
    'docs/deployment.md',
    'orderflow-ingest doctor',
    { file: 'test/deployment/database.test.ts', title: 'a database that … has made as the page says' },
  ],
  [
    'docs/deployment.md',
    'git clone',
    { not: 'it changes the machine; test/deployment/systemd.test.ts reads the unit' },
  ],
  [
    'docs/deployment.md',
    'docker push',
    { file: 'test/deployment/kubernetes.test.ts', title: 'the example overlay is rendered by kubectl' },
  ],
  ['docs/mime.md', 'import { createReadStream }', { here: true }],
  ['docs/operations.md', `grep '"SMTP refusals"'`, { here: true }],
  ['docs/operations.md', '{"level":"info"', { here: true }],
  [
    'docs/next-stage.md',
    'CREATE ROLE',
    { file: 'src/adapters/postgres/next-stage.test.ts', title: 'the next stage sees the documents of its' },
  ],
  [
    'docs/next-stage.md',
    'BEGIN;',
    { file: 'src/adapters/postgres/next-stage.test.ts', title: 'the next stage sees the documents of its' },
  ],
  [
    'docs/next-stage.md',
    'orderflow-ingest jobs',
    { file: 'src/cli/jobs.test.ts', title: 'prints the documents whose jobs' },
  ],
  ['docs/operations.md', '{"status":"not ready"', { here: true }],
  [
    'docs/receiving.md',
    'orderflow-ingest doctor --domain',
    { file: 'src/doctor/mail-arrival.test.ts', title: 'a company whose address is an alias' },
  ],
  [
    'docs/receiving.md',
    'orders.company.example.     MX',
    { file: 'src/doctor/mail-arrival.test.ts', title: 'an MX leads here by an address of this machine' },
  ],
  ['docs/receiving.md', 'SMTP_DOMAIN=', { here: true }],
  ['docs/receiving.md', 'relay_domains =', POSTFIX],
  ['docs/receiving.md', 'orders.company.example   smtp:', POSTFIX],
  ['docs/receiving.md', 'orders.company.example   reject', POSTFIX],
  ['docs/receiving.md', 'postmap', POSTFIX],
  ['docs/receiving.md', '# main', EXIM],
  ['docs/receiving.md', 'New-TransportRule', { not: 'it asks Microsoft 365' }],
  ['docs/receiving.md', 'New-OutboundConnector', { not: 'it asks Microsoft 365' }],
  ['docs/receiving.md', 'orders@company.example, orders+acme', { not: 'it is typed in at Google' }],
  [
    'docs/receiving.md',
    'orderflow-ingest messages',
    { file: 'test/receiving/confirmation.test.ts', title: 'the commands of docs/receiving.md find the mail' },
  ],
  ['docs/receiving.md', 'orders@company.example   orders+acme', POSTFIX],
  ['docs/receiving.md', 'orders_alias:', EXIM],
  [
    'docs/receiving.md',
    'swaks --server',
    { file: 'test/receiving/scanner.test.ts', title: 'swaks as docs/receiving.md has it' },
  ],
  ['docs/performance.md', 'npm run bench\n', { not: 'it takes seven minutes; bench/*.test.ts hold its parts' }],
  ['docs/performance.md', 'npm run bench -- --only acceptance', { not: 'it takes minutes, and writes profiles' }],
  ['docs/performance.md', 'Node v', { not: 'output, measured once' }],
  ['docs/smtp.md', 'import { createRefusal, createSmtpServer }', { here: true }],
];

const examples: readonly Example[] = pages.flatMap((page) =>
  [...textOf(page).matchAll(/^```(\w*)\n(.*?)^```$/gms)].map(([, language = '', text = '']) => ({
    page,
    language,
    text,
  })),
);

function example(page: string, beginning: string): Example {
  const [found, ...others] = examples.filter(
    (each) => each.page === page && each.text.trimStart().startsWith(beginning),
  );
  assert.ok(found !== undefined && others.length === 0, `one example of ${page} begins with ${beginning}`);
  return found;
}

test('every example is run, held by another test, or named with the reason why not', (t) => {
  const known = EXAMPLES.map(([page, beginning]) => example(page, beginning));
  assert.deepEqual(
    examples.filter((each) => !known.includes(each)),
    [],
  );
  for (const [page, beginning, care] of EXAMPLES) {
    if ('file' in care) assertHolds(care);
    else if ('not' in care) t.diagnostic(`${page}, ${beginning.trim().split('\n')[0]} …: not run, ${care.not}`);
  }
});

/** As a program of its own in a folder of its own; imports lead to this clone. */
async function runProgram(folder: string, program: string): Promise<string> {
  const path = join(folder, 'example.ts');
  await writeFile(path, program.replaceAll("'./src/", `'${pathToFileURL(ROOT).href}/src/`));
  const { stdout, stderr } = await run(process.execPath, [path], { cwd: folder, timeout: DEADLINE_MS });
  assert.equal(stderr, '');
  return stdout;
}

function replaced(text: string, what: string, by: string): string {
  assert.equal(text.split(what).length, 2, `the example has "${what}" once`);
  return text.replace(what, () => by);
}

/** In segments with pauses between them: the server reads the mail in many chunks, and takes back their memory. */
const CLIENT = `
import { connect } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
const saved: Buffer[] = [];
const save = async (mail: Buffer): Promise<number> => saved.push(mail);
const mail = Buffer.from(Array.from({ length: 40_000 }, (_, n) => \`line \${n}\\r\\n\`).join(''));
async function deliver(port: number): Promise<void> {
  let transcript = '';
  const socket = connect(port, '127.0.0.1').setEncoding('latin1').on('data', (text) => (transcript += text));
  const said = async (reply: RegExp): Promise<void> => {
    while (!reply.test(transcript)) await sleep(5);
    transcript = '';
  };
  await said(/^220 /);
  for (const line of ['EHLO c', 'MAIL FROM:<a@b.example>', 'RCPT TO:<orders@example.com>']) {
    socket.write(line + '\\r\\n');
    await said(/^250 /m);
  }
  socket.write('DATA\\r\\n');
  await said(/^354 /);
  for (let at = 0; at < mail.length; at += 50_000) {
    socket.write(mail.subarray(at, at + 50_000));
    await sleep(10);
  }
  socket.write('.\\r\\n');
  while (!transcript.includes('\\r\\n')) await sleep(5);
  console.log(transcript.trim(), saved[0]?.equals(mail));
  socket.end('QUIT\\r\\n');
}
`;

test('docs/smtp.md: the example takes a mail of many chunks and saves it as it was sent', async (t) => {
  const { text } = example('docs/smtp.md', 'import { createRefusal, createSmtpServer }');
  const program = replaced(replaced(text, 'port: 2525', 'port: 0'), '// …\n', 'await deliver(port);\n');
  const lines = (await runProgram(await temporaryFolder(t), CLIENT + program)).trimEnd().split('\n');
  assert.ok(lines.includes('250 2.0.0 accepted 1 true'), lines.join('\n'));
  assert.match(lines[0] ?? '', /^[0-9a-f-]{36} 220 greeting$/);
});

test('docs/mime.md: the example lists the parts of a mail, and says which is a document', async (t) => {
  const folder = await temporaryFolder(t);
  const part = (fields: string, text: string) => `--b\r\n${fields}\r\n\r\n${text}\r\n`;
  await writeFile(
    join(folder, 'order.eml'),
    `Content-Type: multipart/mixed; boundary=b\r\n\r\n${part('Content-Type: text/plain', 'hello')}${part(
      'Content-Type: application/pdf; name=order.pdf\r\nContent-Disposition: attachment',
      '%PDF-1.7',
    )}--b--\r\n`,
  );
  const { text } = example('docs/mime.md', 'import { createReadStream }');
  assert.equal(
    await runProgram(folder, text),
    '1 null false no-file-name-and-no-attachment-disposition\n2 order.pdf true attachment\n',
  );
});

test('docs/operations.md: the command finds the refused order of the example, and nothing else', async (t) => {
  const folder = await temporaryFolder(t);
  const line = JSON.parse(example('docs/operations.md', '{"level":"info"').text) as Record<string, unknown>;
  const others = [
    { ...line, refusals: [], helo_name: 'other.example' },
    { from: 'buyer@customer.example', msg: 'mail accepted' },
  ];
  await writeFile(join(folder, 'orderflow.log'), [line, ...others].map((each) => `${JSON.stringify(each)}\n`).join(''));
  const { text } = example('docs/operations.md', 'grep ');
  const { stdout } = await run('sh', ['-c', text], { cwd: folder, timeout: DEADLINE_MS });
  assert.deepEqual(JSON.parse(stdout), line);
});

test('docs/receiving.md: the settings of the example are settings, of the right form', () => {
  const { text } = example('docs/receiving.md', 'SMTP_DOMAIN=');
  const env = Object.fromEntries(
    text
      .trim()
      .split('\n')
      .map((line) => line.split('=')),
  );
  const loaded = loadSettings({ env, cwd: '/', readEnvFile: () => null });
  assert.ok('settings' in loaded, JSON.stringify(loaded));
  assert.equal(loaded.settings.smtp.port, 25);
});

test('docs/operations.md: /readyz answers as the example shows', async () => {
  const since = new Date('2026-03-01T10:00:00.000Z');
  const works = async (): Promise<void> => {};
  const readiness = createReadiness({
    checks: {
      database: works,
      object_store: works,
      smtp: works,
      jobs: () => Promise.reject(new NotReadyError('no-job-finished', 'none was finished', since)),
    },
    deadlineMs: 1_000,
    log: pino({ level: 'silent' }),
  });
  const { ready, checks } = await readiness();
  const shown = JSON.parse(example('docs/operations.md', '{"status":"not ready"').text);
  assert.deepEqual({ status: ready ? 'ready' : 'not ready', checks }, shown);
});

test('docs/operations.md: the command connects psql to the embedded database', async (t) => {
  const [, command] = /^`(PGPASSWORD=.* psql .*?)`/m.exec(textOf('docs/operations.md')) ?? [];
  assert.ok(command !== undefined, 'the page has the command');
  if (spawnSync('psql', ['--version']).status !== 0) return missing(t, 'psql', 'apt-get install postgresql');
  const dataDir = await temporaryFolder(t);
  const product = await startProduct(t, { dataDir });
  const asked = `${command.replaceAll('DATA_DIR', dataDir)} -Atc 'SELECT slug FROM org'`;
  const { stdout } = await run('sh', ['-c', asked], { timeout: DEADLINE_MS });
  assert.equal(stdout, 'acme\n');
  await product.stop();
});
