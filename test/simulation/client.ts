/** Senders: each brings its mail until it has a 250 for it, and sometimes once more after that. */

import { setTimeout as sleep } from 'node:timers/promises';
import type { Mailbox, MailCommand, MailTransaction, SessionFacts } from '../../src/smtp/index.ts';
import { mailBodyOf } from '../../src/smtp/testing/mail-body.ts';
import type { House } from './house.ts';
import { DOMAIN, type SimulatedMail } from './mails.ts';
import type { SimulatedServer } from './server.ts';

const RETRY_MS = 20_000;
const CHUNK_BYTES = 16 * 1024;

export interface Senders {
  /** Deliveries that a server is at. */
  readonly underWay: number;
  readonly allDone: boolean;
}

export function startSenders(house: House, servers: () => readonly SimulatedServer[]): Senders {
  const { chance } = house.world;
  let underWay = 0;
  let left = house.mails.length;

  const bring = async (mail: SimulatedMail): Promise<void> => {
    await sleep(chance.integer(90_000));
    let wanted = chance.oneIn(4) ? 2 : 1;
    while (wanted > 0) {
      const up = servers();
      underWay += up.length === 0 ? 0 : 1;
      const acknowledgement = up.length === 0 ? null : await deliver(house, chance.pick(up), mail);
      underWay -= up.length === 0 ? 0 : 1;
      if (acknowledgement === null) {
        await sleep(1_000 + chance.integer(RETRY_MS));
        continue;
      }
      const ids = acknowledgement.match(/[0-9a-f]{8}-[0-9a-f-]{27}/g) ?? [];
      house.ledger.push({ mail, ids });
      house.world.note(`client of ${mail.name}: 250 ${acknowledgement}`);
      wanted--;
    }
    left--;
  };
  for (const mail of house.mails) void bring(mail);
  return {
    get underWay() {
      return underWay;
    },
    get allDone() {
      return left === 0;
    },
  };
}

/** The text of a 250; null for any other reply, and for none. */
async function deliver(
  { world }: House,
  { actor, intake }: SimulatedServer,
  mail: SimulatedMail,
): Promise<string | null> {
  const reply = Promise.withResolvers<string | null>();
  /** Which step the client does not live to see: it hangs up while it sends, or before the reply. */
  const hangsUp = world.faults.lostBefore > 0 && world.chance.oneIn(12) ? world.chance.pick(['body', 'reply']) : null;
  const gone = new AbortController();
  const answer = (text: string | null): void =>
    world.onTheWay(actor, `${actor.name} → client of ${mail.name}: ${text ?? '4xx'}`, () =>
      reply.resolve(hangsUp === 'reply' ? null : text),
    );

  const talk = async (): Promise<string | null> => {
    const begun = await intake.begin(session, command(mail), gone.signal);
    if ('refusal' in begun) return null;
    const abort = (): Promise<void> => begun.abort(gone.signal.aborted ? 'connection-lost' : 'refused');
    if (hangsUp === 'body') hangUpLater(begun, gone, actor);
    for (const { slug } of mail.to) {
      const refused = await begun.addRecipient(mailbox(`orders+${slug}@${DOMAIN}`), gone.signal);
      if (refused === undefined) continue;
      if (!gone.signal.aborted) await abort();
      return null;
    }
    if (gone.signal.aborted) return null;
    const refused = await begun.body(mailBodyOf(chunks(mail.bytes, gone.signal)), gone.signal);
    if (gone.signal.aborted) return null;
    if (refused !== undefined) {
      await abort();
      return null;
    }
    const committed = await begun.commit(new AbortController().signal);
    if ('acknowledgement' in committed) return committed.acknowledgement;
    await abort();
    return null;
  };
  actor.run(() => {
    talk().then(answer, () => answer(null));
  });
  void actor.died.then(() => reply.resolve(null));
  return await reply.promise;
}

/** As the SMTP library does it: at once, also while another call is still running. */
function hangUpLater(transaction: MailTransaction, gone: AbortController, actor: SimulatedServer['actor']): void {
  void sleep(1).then(() => {
    if (!actor.alive) return;
    gone.abort(new Error('the client is gone'));
    actor.run(() => void transaction.abort('connection-lost'));
  });
}

const session: SessionFacts = {
  sessionId: 's',
  remoteAddress: '127.0.0.1',
  remotePort: 1,
  heloName: 'client.example',
  tls: null,
};

function mailbox(address: string): Mailbox {
  const at = address.lastIndexOf('@');
  return { localPart: address.slice(0, at), domain: address.slice(at + 1), address };
}

const command = (mail: SimulatedMail): MailCommand => ({
  reversePath: mailbox(mail.sender),
  declaredSizeBytes: null,
  body: '8BITMIME',
  smtputf8: false,
});

async function* chunks(bytes: Buffer, signal: AbortSignal): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += CHUNK_BYTES) {
    signal.throwIfAborted();
    yield bytes.subarray(at, at + CHUNK_BYTES);
  }
}
