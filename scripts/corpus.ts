/**
 * Holds the MIME engine to a corpus of real mails with expected attachments: `npm run corpus`.
 *
 * Reads CORPUS_DIR, else `../shared/corpus`; each mail as it is (`expected.jsonl`) and as SMTP delivers it
 * (`expected-crlf.jsonl`), whole, byte by byte and at random cuts. Prints the agreement per source, each
 * expectation that was overruled with its reason, and every disagreement; exits 1 when there is any, or nothing to
 * compare. Where the corpus calls a value uncertain, any will do.
 */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { recordMail, traceMail } from '../src/mime/mail-record.ts';
import { checkAttachments, checkHeader, type ExpectedMail } from './expectations.ts';
import { applyOverruled } from './overruled.ts';

interface Tally {
  mails: number;
  agreeing: number;
  attachments: number;
  uncertainMails: number;
}

const directory = process.env.CORPUS_DIR ?? join(import.meta.dirname, '../../shared/corpus');
const seed = Number(process.env.CORPUS_SEED ?? 1);

function main(): void {
  const tallies = new Map<string, Tally>();
  const problems: string[] = [];
  const overruled: string[] = [];
  for (const [list, crlf] of [
    ['expected.jsonl', false],
    ['expected-crlf.jsonl', true],
  ] as const) {
    for (const expected of readExpectations(join(directory, list))) {
      const tally = tallyOf(tallies, `${expected.path.split('/')[0]}${crlf ? ' (CRLF)' : ''}`);
      const form = crlf ? 'CRLF ' : '';
      const found = checkMail(expected, crlf);
      tally.mails++;
      tally.attachments += expected.attachments.length;
      if (found.problems.length === 0) tally.agreeing++;
      if (expected.uncertain) tally.uncertainMails++;
      problems.push(...found.problems.map((problem) => `${form}${expected.path}: ${problem}`));
      overruled.push(...found.overruled.map((line) => `${form}${expected.path}: ${line}`));
    }
  }
  report(tallies, overruled, problems);
}

function readExpectations(path: string): readonly ExpectedMail[] {
  if (!existsSync(path)) return [];
  const lines = readFileSync(path, 'utf8').split('\n');
  return lines.filter((line) => line !== '').map((line) => JSON.parse(line) as ExpectedMail);
}

interface CheckedMail {
  readonly overruled: readonly string[];
  readonly problems: readonly string[];
}

function checkMail(expected: ExpectedMail, crlf: boolean): CheckedMail {
  const file = readFileSync(join(directory, expected.path));
  const mail = crlf ? withCrlf(file) : file;
  const actual = recordMail(expected.path, mail);
  const differences = [...checkHeader(expected, actual), ...checkAttachments(expected, actual.attachments)];
  const { overruled, standing } = applyOverruled(expected.path, differences);
  const limit = actual.limit === null || expected.uncertain ? [] : [`limit ${actual.limit} reached`];
  return { overruled, problems: [...standing, ...checkCuts(mail), ...limit] };
}

/** Each bare LF as CRLF, which is how a client sends the file. */
function withCrlf(file: Buffer): Buffer {
  return Buffer.from(file.toString('latin1').replace(/(?<!\r)\n/g, '\r\n'), 'latin1');
}

/** However the mail is cut, the events are the same. */
function checkCuts(mail: Buffer): readonly string[] {
  const whole = traceMail(mail, []);
  const problems: string[] = [];
  if (traceMail(mail, everyByte(mail.length)) !== whole) problems.push('other events when fed byte by byte');
  for (let round = 0; round < 3; round++) {
    const cuts = randomCuts(mail.length, seed + round);
    if (traceMail(mail, cuts) !== whole) problems.push(`other events when cut at random (seed ${seed + round})`);
  }
  return problems;
}

function* everyByte(length: number): Iterable<number> {
  for (let cut = 1; cut < length; cut++) yield cut;
}

function randomCuts(length: number, from: number): readonly number[] {
  let state = (from * 2654435761 + length) >>> 0;
  const next = () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
  const cuts: number[] = [];
  const longest = 2 ** Math.floor(2 + next() * 12);
  for (let cut = Math.ceil(next() * longest); cut < length; cut += Math.ceil(next() * longest)) cuts.push(cut);
  return cuts;
}

function tallyOf(tallies: Map<string, Tally>, source: string): Tally {
  const known = tallies.get(source) ?? { mails: 0, agreeing: 0, attachments: 0, uncertainMails: 0 };
  tallies.set(source, known);
  return known;
}

function report(tallies: ReadonlyMap<string, Tally>, overruled: readonly string[], problems: readonly string[]): void {
  let mails = 0;
  for (const [source, tally] of tallies) {
    mails += tally.mails;
    const rest = `${tally.attachments} attachments, ${tally.uncertainMails} mails uncertain`;
    console.log(`${source.padEnd(32)} ${tally.agreeing} of ${tally.mails} agree (${rest})`);
  }
  for (const line of overruled) console.log(`overruled: ${line}`);
  for (const problem of problems) console.log(problem);
  console.log(`${mails} mails, ${overruled.length} expectations overruled, ${problems.length} disagreements`);
  if (mails === 0) console.error(`no corpus in ${directory}`);
  if (mails === 0 || problems.length > 0) process.exitCode = 1;
}

main();
