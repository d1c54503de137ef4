/**
 * The MIME engine against libraries, in one run on one core: `npm run bench:mime [-- --quick]`; with
 * `--before FOLDER` against another version of itself.
 *
 * Ours hashes every attachment with sha256; so does everybody else, where it hands attachments out at all. The floor is
 * sha256 plus native base64 over the same bytes, with no parsing. Numbers are megabytes of mail per second of processor
 * time (of all threads), so that a busy machine does not count, the median of several runs that take turns.
 */
import { createHash, randomBytes } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { createRequire } from 'node:module';
import { cpus } from 'node:os';
import { join, resolve } from 'node:path';
import { Readable, type Transform } from 'node:stream';
import { pathToFileURL } from 'node:url';
import { scriptCommand } from '../scripts/script-command.ts';
import * as engine from '../src/mime/index.ts';

const options = scriptCommand('bench:mime', 'the MIME engine beside the libraries of the field')
  .option('--quick', 'three short rounds')
  .option(
    '--before <folder>',
    'a checkout of another version, which takes turns with this one instead of the libraries',
  )
  .parse()
  .opts<{ readonly quick?: true; readonly before?: string }>();
const chunkBytes = 64 * 1024;

interface Contender {
  readonly name: string;
  readonly parse: (mail: Buffer) => Promise<number>;
}

interface Workload {
  readonly name: string;
  readonly mails: readonly Buffer[];
}

async function* chunksOf(mail: Buffer): AsyncGenerator<Buffer> {
  for (let i = 0; i < mail.length; i += chunkBytes) yield mail.subarray(i, i + chunkBytes);
}

type Engine = Pick<typeof engine, 'createDocumentRule' | 'parseMail'>;

/** Ours, as the extraction worker uses it: pulled through parseMail, the document rule asked, documents hashed. */
async function parseWithEngine({ createDocumentRule, parseMail }: Engine, mail: Buffer): Promise<number> {
  const rule = createDocumentRule();
  const open = new Map<string, ReturnType<typeof createHash>>();
  let documents = 0;
  for await (const event of parseMail(chunksOf(mail))) {
    rule.observe(event);
    if (event.type === 'part-begin' && rule.verdict(event.part).document)
      open.set(event.part.path, createHash('sha256'));
    else if (event.type === 'part-data') open.get(event.path)?.update(event.bytes);
    else if (event.type === 'part-end' && open.has(event.path)) {
      open.get(event.path)?.digest('hex');
      open.delete(event.path);
      documents++;
    }
  }
  return documents;
}

/** No parsing at all: what hashing and native decoding cost alone. */
async function floor(mail: Buffer): Promise<number> {
  const hash = createHash('sha256');
  const out = Buffer.alloc(chunkBytes);
  for (let i = 0; i < mail.length; i += chunkBytes) {
    const end = Math.min(i + chunkBytes, mail.length);
    hash.update(out.subarray(0, out.write(mail.toString('latin1', i, end), 'base64')));
  }
  hash.digest('hex');
  return 0;
}

interface MailparserAttachment {
  readonly type: string;
  readonly content: NodeJS.ReadableStream;
  release(): void;
}

async function versionBefore(folder: string): Promise<Contender> {
  const file = resolve(folder, 'src/mime/index.ts');
  if (!existsSync(file)) {
    console.error(`--before ${folder}: no MIME engine there; it takes the folder of a checkout`);
    process.exit(2);
  }
  const before = (await import(pathToFileURL(file).href)) as Engine;
  return { name: 'before', parse: (mail) => parseWithEngine(before, mail) };
}

/** Only packages that are installed take part; they are development dependencies, nothing of the product. */
function libraryContenders(): readonly Contender[] {
  const require = createRequire(import.meta.url);
  const load = (name: string): { version: string; module: Record<string, unknown> } | null => {
    try {
      return { version: versionOf(require, name), module: require(name) as Record<string, unknown> };
    } catch {
      console.log(`${name} is not installed and takes no part`);
      return null;
    }
  };
  const found: Contender[] = [];
  const mailparser = load('mailparser');
  if (mailparser !== null) {
    const MailParser = mailparser.module.MailParser as new (options: object) => Transform;
    found.push({ name: `mailparser ${mailparser.version}`, parse: (mail) => parseWithMailparser(MailParser, mail) });
  }
  const mailsplit = load('mailsplit');
  if (mailsplit !== null) {
    const Splitter = mailsplit.module.Splitter as new (options: object) => Transform;
    found.push({ name: `mailsplit ${mailsplit.version}`, parse: (mail) => parseWithMailsplit(Splitter, mail) });
  }
  const postal = load('postal-mime');
  if (postal !== null) {
    const module = postal.module as unknown as { default?: PostalMime } & PostalMime;
    const PostalMime = module.default ?? module;
    found.push({ name: `postal-mime ${postal.version}`, parse: (mail) => parseWithPostalMime(PostalMime, mail) });
  }
  return found;
}

function versionOf(require: NodeJS.Require, name: string): string {
  let directory = join(require.resolve(name), '..');
  while (
    !existsSync(join(directory, 'package.json')) ||
    !readFileSync(join(directory, 'package.json'), 'utf8').includes('"version"')
  ) {
    directory = join(directory, '..');
  }
  return (JSON.parse(readFileSync(join(directory, 'package.json'), 'utf8')) as { version: string }).version;
}

function parseWithMailparser(MailParser: new (options: object) => Transform, mail: Buffer): Promise<number> {
  return new Promise((resolve, reject) => {
    // Its conversions of text and HTML into each other are left out: they are not what is measured.
    const parser = new MailParser({
      skipHtmlToText: true,
      skipTextToHtml: true,
      skipTextLinks: true,
      skipImageLinks: true,
    });
    let documents = 0;
    parser.on('data', (data: MailparserAttachment) => {
      if (data.type !== 'attachment') return;
      documents++;
      const hash = createHash('sha256');
      data.content.on('data', (chunk: Buffer) => hash.update(chunk));
      data.content.on('end', () => {
        hash.digest('hex');
        data.release();
      });
    });
    parser.on('error', reject);
    parser.on('end', () => resolve(documents));
    Readable.from(chunksOf(mail)).pipe(parser);
  });
}

interface MailsplitNode {
  readonly type: 'node' | 'body' | 'data';
  readonly filename?: string;
  readonly value?: Buffer;
  readonly disposition?: string;
  getDecoder(): Transform;
}

function parseWithMailsplit(Splitter: new (options: object) => Transform, mail: Buffer): Promise<number> {
  return new Promise((resolve, reject) => {
    const splitter = new Splitter({ ignoreEmbedded: false });
    const pending: Promise<void>[] = [];
    let decoder: Transform | null = null;
    let documents = 0;
    splitter.on('data', (data: MailsplitNode) => {
      if (data.type === 'node') {
        decoder?.end();
        decoder = null;
        if (!data.filename && data.disposition !== 'attachment') return;
        documents++;
        const hash = createHash('sha256');
        const decoding = data.getDecoder();
        decoding.on('data', (chunk: Buffer) => hash.update(chunk));
        pending.push(new Promise((done) => decoding.on('end', () => done(void hash.digest('hex')))));
        decoder = decoding;
      } else if (data.type === 'body') decoder?.write(data.value);
    });
    splitter.on('error', reject);
    splitter.on('end', () => {
      decoder?.end();
      Promise.all(pending).then(() => resolve(documents), reject);
    });
    Readable.from(chunksOf(mail)).pipe(splitter);
  });
}

interface PostalMime {
  parse(mail: Buffer, options?: object): Promise<{ attachments: readonly { content: ArrayBuffer }[] }>;
}

async function parseWithPostalMime(PostalMime: PostalMime, mail: Buffer): Promise<number> {
  const { attachments } = await PostalMime.parse(mail);
  for (const { content } of attachments) createHash('sha256').update(new Uint8Array(content)).digest('hex');
  return attachments.length;
}

function composeMixed(parts: readonly { readonly head: string; readonly body: string }[]): Buffer {
  const boundary = '----=_Part_4711_1234567890.1726920000000';
  const head = [
    'Return-Path: <buyer@example.com>',
    'Received: from mx1.example.com (mx1.example.com [192.0.2.1]) by mx2.example.com with ESMTPS; Mon, 21 Sep 2026 10:00:00 +0200',
    'From: "Buyer, Ann" <buyer@example.com>',
    'To: orders+acme@orderflow.example.com',
    'Subject: =?utf-8?Q?Bestellung_f=C3=BCr_M=C3=BCller?=',
    'Date: Mon, 21 Sep 2026 10:00:00 +0200',
    'Message-ID: <bench@example.com>',
    'MIME-Version: 1.0',
    `Content-Type: multipart/mixed; boundary="${boundary}"`,
    '',
    '',
  ].join('\r\n');
  const body = parts.map((part) => `--${boundary}\r\n${part.head}\r\n\r\n${part.body}\r\n`).join('');
  return Buffer.from(`${head}${body}--${boundary}--\r\n`, 'latin1');
}

const text = { head: 'Content-Type: text/plain; charset=utf-8', body: 'Please find our order attached.\r\n' };

function pdfPart(sizeBytes: number, name: string): { head: string; body: string } {
  const head = [
    `Content-Type: application/pdf; name="${name}"`,
    `Content-Disposition: attachment; filename="${name}"`,
    'Content-Transfer-Encoding: base64',
  ].join('\r\n');
  return { head, body: randomBytes(sizeBytes).toString('base64').replace(/.{76}/g, '$&\r\n') };
}

/** German words: about one character in twelve is coded. */
function quotedPrintablePart(sizeBytes: number): { head: string; body: string } {
  const words = [
    'Bestellung ',
    'f=C3=BCr ',
    'Artikel ',
    '4711 ',
    'gr=C3=B6=C3=9Fe ',
    'Preis ',
    'St=C3=BCck ',
    '12,50 =E2=82=AC ',
  ];
  const seed = randomBytes(4_096);
  const lines: string[] = [];
  let line = '';
  let size = 0;
  for (let i = 0; size < sizeBytes; i++) {
    const word = words[((seed[i % 4_096] as number) + i) % words.length] as string;
    if (line.length + word.length > 75) {
      lines.push(`${line}=`);
      size += line.length + 3;
      line = '';
    }
    line += word;
  }
  const head =
    'Content-Type: text/csv; charset=utf-8; name="order.csv"\r\nContent-Disposition: attachment; filename="order.csv"';
  return { head: `${head}\r\nContent-Transfer-Encoding: quoted-printable`, body: lines.join('\r\n') };
}

function workloads(): readonly Workload[] {
  const tiny = Array.from({ length: 1_000 }, (_, i) => ({
    head: `Content-Type: text/plain; name="${i}.txt"\r\nContent-Disposition: attachment; filename="${i}.txt"`,
    body: `line ${i}`,
  }));
  return [
    { name: '42 KB, one PDF', mails: [composeMixed([text, pdfPart(30_000, 'order.pdf')])] },
    { name: '1 MB, one PDF', mails: [composeMixed([text, pdfPart(740_000, 'order.pdf')])] },
    {
      name: '25 MB, ten PDFs',
      mails: [composeMixed([text, ...Array.from({ length: 10 }, (_, i) => pdfPart(1_820_000, `order-${i}.pdf`))])],
    },
    { name: '25 MB quoted-printable', mails: [composeMixed([text, quotedPrintablePart(25_000_000)])] },
    { name: '1,000 tiny parts', mails: [composeMixed(tiny)] },
    { name: 'the corpus', mails: corpus() },
  ];
}

function corpus(): readonly Buffer[] {
  const directory = process.env.CORPUS_DIR ?? join(import.meta.dirname, '../../shared/corpus');
  if (!existsSync(directory)) return [];
  const files = readdirSync(directory, { recursive: true, encoding: 'utf8' })
    .sort()
    .map((name) => join(directory, name));
  const mails = files.filter((file) => /\.(eml|msg|raw|txt)$|mails\//.test(file) && statSync(file).isFile());
  return mails.map((file) => readFileSync(file));
}

async function measure(contender: Contender, workload: Workload, minMs: number): Promise<number> {
  const bytes = workload.mails.reduce((sum, mail) => sum + mail.length, 0);
  let rounds = 0;
  const start = process.cpuUsage();
  let spentMs = 0;
  do {
    for (const mail of workload.mails) await contender.parse(mail);
    rounds++;
    const { user, system } = process.cpuUsage(start);
    spentMs = (user + system) / 1e3;
  } while (spentMs < minMs);
  return (bytes * rounds) / 1e3 / spentMs;
}

async function main(): Promise<void> {
  const contenders: readonly Contender[] = [
    { name: 'floor', parse: floor },
    { name: 'ours', parse: (mail) => parseWithEngine(engine, mail) },
    ...(options.before === undefined ? libraryContenders() : [await versionBefore(options.before)]),
  ];
  const [rounds, minMs] = options.quick ? [3, 50] : [7, 400];
  console.log(
    `Node ${process.version}, ${cpus()[0]?.model ?? 'unknown processor'}; MB of mail per second of processor time, median of ${rounds}`,
  );
  for (const workload of workloads()) {
    if (workload.mails.length === 0) {
      console.log(`${workload.name}: not there`);
      continue;
    }
    const rates = new Map<string, number[]>(contenders.map(({ name }) => [name, []]));
    for (let round = 0; round <= rounds; round++) {
      for (const contender of inTurn(contenders, round)) {
        const rate = await measureOrNull(contender, workload, minMs);
        // The first round warms up.
        if (round > 0 && rate !== null) rates.get(contender.name)?.push(rate);
      }
    }
    report(workload, rates);
  }
}

/**
 * The floor leaves garbage of which the next one pays a part: one and the same engine measured 10 to 20 % slower right
 * behind it than behind itself. So the others change places in every other round.
 */
function inTurn([first, ...others]: readonly Contender[], round: number): readonly Contender[] {
  const turned = round % 2 === 0 ? others : others.toReversed();
  return first === undefined ? turned : [first, ...turned];
}

/** A library may fail on a mail of the corpus. */
async function measureOrNull(contender: Contender, workload: Workload, minMs: number): Promise<number | null> {
  try {
    return await measure(contender, workload, minMs);
  } catch {
    return null;
  }
}

function report(workload: Workload, rates: ReadonlyMap<string, number[]>): void {
  const ours = median(rates.get('ours') ?? []) ?? 0;
  const columns = [...rates].map(([name, values]) => {
    const rate = median(values);
    if (rate === null) return `${name} failed`;
    const factor = name === 'ours' || name === 'floor' ? '' : ` (${(ours / rate).toFixed(1)} ×)`;
    return `${name} ${rate.toFixed(rate < 10 ? 1 : 0)}${factor}`;
  });
  console.log(`${workload.name.padEnd(24)} ${columns.join(' · ')}`);
}

function median(values: readonly number[]): number | null {
  if (values.length === 0) return null;
  return [...values].sort((a, b) => a - b)[values.length >> 1] as number;
}

await main();
