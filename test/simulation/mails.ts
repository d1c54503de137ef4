/** The mails of a run: small, each unlike any other but where two share a Message-ID, with what is to become of each. */
import { createHash } from 'node:crypto';
import type { Chance } from './random.ts';

export interface SimulatedOrg {
  readonly id: string;
  readonly slug: string;
  /** A sender that it does not want. */
  readonly blocks: string | null;
}

export interface SimulatedMail {
  readonly name: string;
  readonly bytes: Buffer;
  readonly sha256: string;
  readonly sender: string;
  /** Addressed to, the blocking ones too. */
  readonly to: readonly SimulatedOrg[];
  /** Ids of those that get it. */
  readonly for: ReadonlySet<string>;
  /** Digests of its attachments. */
  readonly documents: readonly string[];
}

export const UNWANTED = 'spam@bad.example';

export const ORGS: readonly SimulatedOrg[] = [
  { id: '11111111-1111-4111-8111-111111111111', slug: 'acme', blocks: null },
  { id: '22222222-2222-4222-8222-222222222222', slug: 'globex', blocks: null },
  { id: '33333333-3333-4333-8333-333333333333', slug: 'umbrella', blocks: UNWANTED },
];

export const DOMAIN = 'orders.example';

export function makeMails(chance: Chance): readonly SimulatedMail[] {
  const mails: SimulatedMail[] = [];
  const count = 2 + chance.integer(5);
  for (let n = 0; n < count; n++) {
    const again = n > 0 && chance.oneIn(5) ? n - 1 : n;
    mails.push(makeMail(chance, n, chance.oneIn(8) ? null : `<order-${again}@buyer.example>`));
  }
  return mails;
}

const sha256 = (bytes: Uint8Array | string): string => createHash('sha256').update(bytes).digest('hex');

function makeMail(chance: Chance, n: number, messageId: string | null): SimulatedMail {
  const to = ORGS.filter(() => chance.oneIn(2));
  if (to.length === 0) to.push(chance.pick(ORGS));
  // Only the header names it: the envelope's sender is judged elsewhere. Somebody wants it always.
  const unwanted = chance.oneIn(4) && to.some(({ blocks }) => blocks === null);
  const attachments = Array.from({ length: chance.integer(3) }, (_, at) =>
    `sku;amount;mail ${n};part ${at}\r\n`.repeat(1 + chance.integer(chance.oneIn(10) ? 3_000 : 20)),
  );
  const bytes = Buffer.from(compose({ n, messageId, from: unwanted ? UNWANTED : 'buyer@buyer.example', attachments }));
  return {
    name: `mail ${n}`,
    bytes,
    sha256: sha256(bytes),
    sender: `bounces-${n}@buyer.example`,
    to,
    for: new Set(to.filter(({ blocks }) => !(unwanted && blocks === UNWANTED)).map(({ id }) => id)),
    documents: attachments.map(sha256).sort(),
  };
}

function compose(o: {
  readonly n: number;
  readonly messageId: string | null;
  readonly from: string;
  readonly attachments: readonly string[];
}): string {
  const head = [
    ...(o.messageId === null ? [] : [`Message-ID: ${o.messageId}`]),
    `From: Buyer <${o.from}>`,
    `Subject: Order ${o.n}`,
    'MIME-Version: 1.0',
    'Content-Type: multipart/mixed; boundary=b',
  ];
  const text = ['--b', 'Content-Type: text/plain', '', `Order ${o.n}, please.`];
  const parts = o.attachments.flatMap((content, at) => [
    '--b',
    'Content-Type: text/csv',
    `Content-Disposition: attachment; filename="order-${at}.csv"`,
    'Content-Transfer-Encoding: base64',
    '',
    Buffer.from(content)
      .toString('base64')
      .replace(/.{76}(?=.)/g, '$&\r\n'),
  ]);
  return [...head, '', ...text, ...parts, '--b--', ''].join('\r\n');
}
