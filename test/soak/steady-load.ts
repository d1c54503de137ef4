/** What comes to a front door all day, again and again: orders, redeliveries, conflicts, refusals, sessions that break, scrapes. */
import { setTimeout as sleep } from 'node:timers/promises';
import { connectWireClient, secureWireClient, type WireClient } from '../../src/smtp/testing/wire-client.ts';
import { sendRaw } from '../../src/testing/smtp-client.ts';
import { addressOf, composeOrder, type OrderMail } from '../durability/order-mail.ts';

export interface LoadOptions {
  readonly smtpPort: number;
  readonly httpUrl: string;
  readonly slug: string;
  /** STARTTLS is offered. */
  readonly tls: boolean;
  /** Of all kinds together. */
  readonly actionsPerSecond: number;
}

export interface SteadyLoad {
  /** Done so far, by kind. */
  readonly done: ReadonlyMap<string, number>;
  readonly total: number;
  /** Answers that were not those expected. */
  readonly surprises: readonly string[];
  stop(): Promise<void>;
}

const from = 'buyer@customer.example';
/** One behind another would be kept up by the slowest. */
const lanes = 8;

export function startSteadyLoad(options: LoadOptions): SteadyLoad {
  const done = new Map<string, number>();
  const surprises: string[] = [];
  let total = 0;
  let stopped = false;
  let last: OrderMail | null = null;
  const { smtpPort: port, httpUrl, slug, tls } = options;

  const order = (messageId?: string): Promise<OrderMail> =>
    composeOrder({ slugs: [slug], attachmentBytes: [1_500], ...(messageId === undefined ? {} : { messageId }) });
  const deliver = async (mail: OrderMail, to = addressOf(slug)): Promise<number> =>
    (await sendRaw({ port, from, to: [to], data: mail.raw })).verdict.code;
  const expect = (what: string, code: number, expected: number): void => {
    if (code !== expected) surprises.push(`${what}: ${code}`);
  };
  const withClient = async (talk: (client: WireClient) => Promise<void>): Promise<void> => {
    const client = await connectWireClient({ port });
    try {
      await client.expect('220');
      await talk(client);
    } finally {
      client.destroy();
    }
  };
  const get = async (path: string): Promise<number> => {
    const response = await fetch(`${httpUrl}${path}`, { signal: AbortSignal.timeout(10_000) });
    await response.arrayBuffer();
    return response.status;
  };

  const actions: readonly (readonly [string, () => Promise<void>])[] = [
    [
      'order',
      async () => {
        const mail = await order();
        expect('order', await deliver(mail), 250);
        last = mail;
      },
    ],
    ['redelivery', async () => last !== null && expect('redelivery', await deliver(last), 250)],
    ['conflict', async () => last !== null && expect('conflict', await deliver(await order(last.messageId)), 250)],
    ['refused', async () => expect('refused', await deliver(await order(), addressOf('nobody-here')), 550)],
    [
      'errors',
      () =>
        withClient(async (client) => {
          await client.say('EHLO client.example', '250');
          await client.say('MAIL FROM:<a@b.example', '501');
          await client.say('XYZZY', '500');
          await client.say(`NOOP ${'x'.repeat(600)}`, '500');
          await client.say('QUIT', '221');
        }),
    ],
    [
      'cut in DATA',
      () =>
        withClient(async (client) => {
          await client.say('EHLO client.example', '250');
          await client.say(`MAIL FROM:<${from}>`, '250');
          await client.say(`RCPT TO:<${addressOf(slug)}>`, '250');
          await client.say('DATA', '354');
          client.send('Subject: half\r\n\r\nand no');
        }),
    ],
    ['gone at once', () => withClient(async () => {})],
    [
      'TLS',
      () =>
        withClient(async (client) => {
          await client.say('EHLO client.example', '250');
          if (!tls) return;
          await client.say('STARTTLS', '220');
          const secured = await secureWireClient(client);
          await secured.say('EHLO client.example', '250');
          await secured.say('QUIT', '221');
          secured.destroy();
        }),
    ],
    [
      'TLS that fails',
      () =>
        withClient(async (client) => {
          await client.say('EHLO client.example', '250');
          if (!tls) return;
          await client.say('STARTTLS', '220');
          client.send('EHLO this is no handshake\r\n');
          await client.untilClosed();
        }),
    ],
    ['HTTP', async () => expect('/readyz', await get('/readyz'), 200)],
    ['unknown page', async () => expect('/nothing', await get(`/nothing-${total}`), 404)],
  ].map(([name, act]) => [name, act] as [string, () => Promise<void>]);

  const lane = async (offset: number): Promise<void> => {
    const everyMs = (lanes * 1_000) / options.actionsPerSecond;
    for (let index = offset; !stopped; index++) {
      const begun = performance.now();
      const [name, act] = actions[index % actions.length] ?? ['', async () => {}];
      try {
        await act();
      } catch (error) {
        surprises.push(`${name}: ${(error as Error).message.split('\n', 1)[0]}`);
      }
      total++;
      done.set(name, (done.get(name) ?? 0) + 1);
      await sleep(Math.max(0, everyMs - (performance.now() - begun)));
    }
  };
  const running = Promise.all(Array.from({ length: lanes }, (_, index) => lane(index)));
  return {
    done,
    get total() {
      return total;
    },
    surprises,
    async stop() {
      stopped = true;
      await running;
    },
  };
}
