/**
 * Fuzzes the MIME engine: `npm run fuzz -- [--seconds 120] [--seed N] [--keep DIRECTORY]`.
 *
 * Mails of the corpus and of testdata/mime are bent where mails break: lines and headers dropped, doubled, moved and
 * borrowed from other mails, delimiters bent, encodings exchanged, ends cut off. For each: nothing is thrown, any
 * cutting gives the same events, and, when python3 and the independent oracle are at hand, every attachment that the
 * oracle is certain of agrees. Mails composed by nodemailer must give back what went into them. Findings are written to
 * the directory and make it exit 1; each is to become a golden mail.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { readMailHeader } from '../src/mime/index.ts';
import { recordMail, traceMail } from '../src/mime/mail-record.ts';
import { composeMail } from './composed-mails.ts';
import { checkAttachments, checkHeader, type ExpectedMail } from './expectations.ts';
import { bendMail, createRandom, type Random, randomCuts } from './mail-mutations.ts';
import { followsFromRule, isReadByBoth } from './overruled.ts';
import { countArgument, scriptCommand } from './script-command.ts';

const root = join(import.meta.dirname, '..');
const shared = process.env.CORPUS_DIR ?? join(root, '../shared/corpus');
const oracle = join(root, '../shared/tools/mime_oracle.py');
/** Larger mails take the time of many small ones and hold the same structures. */
const maxSeedBytes = 60_000;
const batchSize = 150;

const options = scriptCommand('fuzz', 'mails made wrong at random, read by the engine and by the oracle')
  .option('--seconds <seconds>', 'how long', countArgument, 120)
  .option('--seed <seed>', 'the same mails again', countArgument, (Date.now() % 1_000_000) + 1)
  .option('--keep <folder>', 'where mails that tell of a mistake are written')
  .parse()
  .opts<{ readonly seconds: number; readonly seed: number; readonly keep?: string }>();

const bareReturns = /^[^\r\n]*\r[^\r\n]*\r(?!\n)|^[^\r\n]*\r\r(?!\n)/;

/** Mails of which the oracle had an answer to compare with. */
let judged = 0;

interface Finding {
  readonly mail: Buffer;
  readonly problem: string;
}

async function main(): Promise<void> {
  const seeds = [join(root, 'testdata/mime'), shared].filter(existsSync).flatMap(mailFiles);
  const judge = findOracle();
  if (judge === null && process.env.CI === 'true')
    throw new Error('the oracle is missing: python3, or the shared tools');
  const random = createRandom(options.seed);
  const until = Date.now() + options.seconds * 1000;
  const work = mkdtempSync(join(tmpdir(), 'fuzz-mime-'));
  const findings: Finding[] = [];
  let mails = 0;
  console.log(
    `seed ${options.seed}, ${seeds.length} mails to start from, ${judge ?? 'no oracle: python3 or the tool is missing'}`,
  );
  try {
    while (Date.now() < until && findings.length < 20) {
      const batch = Array.from({ length: batchSize }, () => bendMail(random, seeds));
      for (const mail of batch) findings.push(...checkAlone(mail, random));
      if (judge !== null) findings.push(...checkWithOracle(batch, work));
      for (let i = 0; i < batchSize / 10; i++) findings.push(...(await checkComposed(random)));
      mails += batch.length;
    }
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
  report(findings, mails);
}

function mailFiles(directory: string): readonly Buffer[] {
  const files = readdirSync(directory, { recursive: true, encoding: 'utf8' })
    .sort()
    .map((name) => join(directory, name));
  const mails = files.filter((file) => !/\.(json|jsonl|md|py|xml|gitattributes)$|LICEN[CS]E|COPYING/.test(file));
  return mails
    .filter((file) => statSync(file).isFile() && statSync(file).size < maxSeedBytes)
    .map((file) => readFileSync(file));
}

function findOracle(): string | null {
  if (!existsSync(oracle)) return null;
  const version = spawnSync('python3', ['--version'], { encoding: 'utf8' });
  return version.status === 0 ? `oracle on ${version.stdout.trim()}` : null;
}

function checkAlone(mail: Buffer, random: Random): readonly Finding[] {
  try {
    readMailHeader(mail);
    const whole = traceMail(mail, []);
    const cuts = randomCuts(random, mail.length);
    if (traceMail(mail, cuts) !== whole) return [{ mail, problem: `other events when cut into ${cuts.length + 1}` }];
    return [];
  } catch (error) {
    return [{ mail, problem: `thrown: ${(error as Error).stack}` }];
  }
}

function checkWithOracle(batch: readonly Buffer[], work: string): readonly Finding[] {
  const paths = batch.map((mail, i) => {
    writeFileSync(join(work, String(i)), mail);
    return String(i);
  });
  const answers = execFileSync('python3', [oracle, ...paths], {
    cwd: work,
    encoding: 'utf8',
    maxBuffer: 2 ** 28,
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  return answers
    .split('\n')
    .filter((line) => line !== '')
    .flatMap((line) => {
      const expected = JSON.parse(line) as ExpectedMail;
      const mail = batch[Number(expected.path)] as Buffer;
      const actual = recordMail(expected.path, mail);
      // Lines that end with bare CRs are read otherwise on purpose.
      if (actual.limit !== null || bareReturns.test(mail.toString('latin1'))) return [];
      if (isReadByBoth(actual)) judged++;
      const differences = isReadByBoth(actual)
        ? [...checkHeader(expected, actual), ...checkAttachments(expected, actual.attachments)]
        : [];
      return differences
        .filter((difference) => !followsFromRule(difference, actual))
        .map(({ text }) => ({ mail, problem: text }));
    });
}

async function checkComposed(random: Random): Promise<readonly Finding[]> {
  const { mail, attachments, subject } = await composeMail(random);
  const actual = recordMail('composed', mail);
  const got = actual.attachments.map(({ filename, size, sha256 }) => ({ filename, size, sha256 }));
  const problems: Finding[] = [];
  if (JSON.stringify(got) !== JSON.stringify(attachments)) {
    problems.push({ mail, problem: `composed ${JSON.stringify(attachments)}, read ${JSON.stringify(got)}` });
  }
  if (actual.subject !== subject) {
    problems.push({
      mail,
      problem: `composed subject ${JSON.stringify(subject)}, read ${JSON.stringify(actual.subject)}`,
    });
  }
  return problems;
}

function report(findings: readonly Finding[], mails: number): void {
  const directory = options.keep ?? join(tmpdir(), 'fuzz-mime-findings');
  findings.forEach(({ mail, problem }, i) => {
    mkdirSync(directory, { recursive: true });
    const file = join(directory, `${options.seed}-${i}.eml`);
    writeFileSync(file, mail);
    console.log(`${file}: ${problem}`);
  });
  console.log(`${mails} mails bent, ${judged} judged by the oracle, ${findings.length} findings`);
  if (mails === 0) console.error('nothing was tried');
  if (mails === 0 || findings.length > 0) process.exitCode = 1;
}

await main();
