/** Bends mails where mails break. Everything follows from the seed, so that a finding can be had again. */

export interface Random {
  /** From 0 to below `below`. */
  integer(below: number): number;
  pick<T>(from: readonly T[]): T;
}

export function createRandom(seed: number): Random {
  let state = (seed ^ 0x9e3779b9) >>> 0;
  const next = (): number => {
    // mulberry32
    state = (state + 0x6d2b79f5) >>> 0;
    let t = state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
  return {
    integer: (below) => Math.floor(next() * below),
    pick: (from) => from[Math.floor(next() * from.length)] as (typeof from)[number],
  };
}

/** Pieces of a size of its own each time, from single bytes to kilobytes. */
export function randomCuts(random: Random, length: number): readonly number[] {
  const longest = 2 ** (1 + random.integer(12));
  const cuts: number[] = [];
  for (let cut = 1 + random.integer(longest); cut < length; cut += 1 + random.integer(longest)) cuts.push(cut);
  return cuts;
}

type Mutation = (lines: string[], random: Random, other: readonly string[]) => void;

export function bendMail(random: Random, seeds: readonly Buffer[]): Buffer {
  const lines = toLines(random.pick(seeds));
  const other = toLines(random.pick(seeds));
  const times = 1 + random.integer(10);
  for (let i = 0; i < times; i++) random.pick(mutations)(lines, random, other);
  const text = lines.join('');
  const ending = random.integer(3);
  if (ending === 0) return Buffer.from(text, 'latin1');
  return Buffer.from(text.replace(/\r?\n/g, ending === 1 ? '\n' : '\r\n'), 'latin1');
}

/** With their line ends. */
function toLines(mail: Buffer): string[] {
  return mail.toString('latin1').split(/(?<=\n)/);
}

const headerLines = [
  'Content-Type: multipart/mixed; boundary=b1\r\n',
  'Content-Type: multipart/digest; boundary="b1"\r\n',
  'Content-Type: multipart/related;\r\n boundary="=_b2"\r\n',
  'Content-Type: message/rfc822\r\n',
  'Content-Type: message/rfc822; name="fwd.eml"\r\n',
  'Content-Type: application/pdf; name="=?utf-8?B?w7xiZXIucGRm?="\r\n',
  'Content-Type: image/png; name=a.png\r\n',
  'Content-Type: text/plain; charset="utf-8"; name="x y.txt"\r\n',
  'Content-Disposition: attachment\r\n',
  'Content-Disposition: inline; filename=inline.bin\r\n',
  "Content-Disposition: attachment; filename*0*=utf-8''a%20; filename*1=b.pdf\r\n",
  'Content-Disposition: attachment;\r\n\tfilename="=?iso-8859-1?Q?=E4=F6?= =?iso-8859-1?Q?=FC.pdf?="\r\n',
  'Content-Transfer-Encoding: base64\r\n',
  'Content-Transfer-Encoding: quoted-printable\r\n',
  'Content-Transfer-Encoding: 8bit\r\n',
  'Content-Transfer-Encoding: x-uuencode\r\n',
  'Content-ID: <part1@example.com>\r\n',
  'Subject: =?utf-8?Q?f=C3=BCr?= x =?gb2312?B?0MK9qA==?=\r\n',
  'From: "A, B" <a@example.com>, (c) d@example.com\r\n',
  ' folded: line\r\n',
  'no colon here\r\n',
  '--b1\r\n',
  '--b1--\r\n',
  '--=_b2\r\n',
  '\r\n',
  '>From someone\r\n',
];

const mutations: readonly Mutation[] = [
  (lines, random) => {
    lines.splice(random.integer(lines.length), 1 + random.integer(3));
  },
  (lines, random) => {
    const at = random.integer(lines.length);
    lines.splice(at, 0, ...lines.slice(at, at + 1 + random.integer(5)));
  },
  (lines, random) => {
    const from = random.integer(lines.length);
    const moved = lines.splice(from, 1 + random.integer(4));
    lines.splice(random.integer(lines.length + 1), 0, ...moved);
  },
  (lines, random, other) => {
    const from = random.integer(other.length);
    lines.splice(random.integer(lines.length + 1), 0, ...other.slice(from, from + 1 + random.integer(20)));
  },
  (lines, random) => {
    lines.splice(random.integer(lines.length + 1), 0, random.pick(headerLines));
  },
  // Among the headers of some part, where it does most.
  (lines, random) => {
    const places = lines.flatMap((line, i) => (/^(content-|mime-|subject:|--)/i.test(line) ? [i + 1] : []));
    if (places.length > 0) lines.splice(random.pick(places), 0, random.pick(headerLines));
  },
  (lines, random) => {
    const at = random.integer(lines.length);
    const line = lines[at] ?? '';
    const cut = random.integer(line.length + 1);
    const byte = String.fromCharCode(random.pick([0, 9, 10, 13, 32, 34, 39, 42, 45, 59, 61, 63, 92, 128, 228, 255]));
    lines[at] = line.slice(0, cut) + byte + line.slice(cut + random.integer(2));
  },
  (lines, random) => {
    bendDelimiter(lines, random);
  },
  (lines, random) => {
    lines.length = 1 + random.integer(lines.length);
    const last = lines.length - 1;
    lines[last] = (lines[last] ?? '').slice(0, random.integer(80));
  },
  // A part becomes a message that holds another mail.
  (lines, random, other) => {
    const delimiters = lines.flatMap((line, i) => (line.startsWith('--') ? [i] : []));
    if (delimiters.length === 0) return;
    lines.splice(random.pick(delimiters) + 1, 0, 'Content-Type: message/rfc822\r\n', '\r\n', ...other.slice(0, 200));
  },
];

function bendDelimiter(lines: string[], random: Random): void {
  const delimiters = lines.flatMap((line, i) => (line.startsWith('--') ? [i] : []));
  if (delimiters.length === 0) return;
  const at = random.pick(delimiters);
  const line = (lines[at] ?? '').trimEnd();
  lines[at] = random.pick([
    `${line} \t\r\n`,
    `${line}--\r\n`,
    `${line.replace(/--$/, '')}\r\n`,
    ` ${line}\r\n`,
    `${line}x\r\n`,
    `${line.slice(0, -1)}\r\n`,
    `\r\n${line}\r\n`,
    `${line}\n`,
    `${line}`,
    `-${line}\r\n`,
  ]);
}
