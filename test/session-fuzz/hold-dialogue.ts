/** One dialogue against a server of its kind, and what both sides have of it afterwards. */
import { setImmediate as turn } from 'node:timers/promises';
import type { Dialogue } from './dialogue.ts';
import { FuzzClient } from './fuzz-client.ts';
import type { TakenMail } from './fuzz-receiver.ts';
import { type FuzzedServer, maxHeldBytes, modelOptions } from './fuzzed-server.ts';
import { type AcknowledgedMail, SessionModel } from './session-model.ts';

export interface Held {
  /** What went against the rules; null: nothing. */
  readonly problem: string | null;
  readonly model: SessionModel;
  readonly peakHeldBytes: number;
  /** The client was gone before it could have all replies: mails are judged, the end of the session is not. */
  readonly cut: boolean;
}

/** Nobody else may use the server meanwhile. */
export async function holdDialogue(server: FuzzedServer, dialogue: Dialogue): Promise<Held> {
  server.forget();
  const model = new SessionModel(modelOptions(dialogue.house));
  const stalls = watchStalls();
  const { look } = server;
  const client = new FuzzClient({ port: server.port, dialogue, model, look, stalled: () => stalls.seen });
  const looking = setInterval(() => {
    look();
    stalls.look();
  }, 2);
  let problem: string | null = null;
  try {
    if (dialogue.proxy === null || dialogue.proxy.verdict === 'taken') await client.hold();
    else await client.holdRefused();
  } catch (error) {
    problem = (error as Error).message;
  } finally {
    clearInterval(looking);
  }
  // The connection of one that left at once may be accepted only now.
  if (client.left) for (let count = 0; count < 5; count++) await turn();
  const remains = await server.settled();
  problem ??= remains === null ? null : `its client is gone, and there are ${remains}`;
  problem ??= judge(server, client, model, dialogue);
  return { problem, model, peakHeldBytes: server.peakHeldBytes, cut: client.left };
}

/** The shortest deadline of the server is three seconds. */
const stallMs = 1_000;

function watchStalls(): { readonly seen: boolean; look(): void } {
  let lastAt = performance.now();
  let seen = false;
  return {
    get seen() {
      return seen;
    },
    look() {
      const now = performance.now();
      seen ||= now - lastAt > stallMs;
      lastAt = now;
    },
  };
}

function judge(server: FuzzedServer, client: FuzzClient, model: SessionModel, dialogue: Dialogue): string | null {
  const { receiver, faults, peakHeldBytes } = server;
  if (receiver.problems.length > 0) return `the receiver: ${receiver.problems.join('; ')}`;
  if (faults.length > 0) return `a fault: ${faults.join('; ')}`;
  if (peakHeldBytes > maxHeldBytes) return `${peakHeldBytes} bytes were held of one client`;
  const clients = clientsOf(dialogue, client.ownAddress);
  // One that left at once may never have been a session.
  if (!client.left && server.clients.join() !== clients)
    return `sessions of ${server.clients.join()}, not of ${clients}`;
  if (client.left && !goOn(model, receiver.taken)) return null;
  return compareMails(model.acknowledged, receiver.taken, client.left);
}

function clientsOf({ proxy }: Dialogue, ownAddress: string): string {
  if (proxy === null) return ownAddress;
  return proxy.verdict === 'taken' ? (proxy.client ?? ownAddress) : '';
}

/**
 * A client that left has not read all. What it had sent may have been taken, as it would have been for one that stays.
 * Returns whether the rest of the session can be told without the server.
 */
function goOn(model: SessionModel, taken: readonly TakenMail[]): boolean {
  const known = new Set(model.acknowledged.map(({ acknowledgement }) => acknowledgement));
  const rest = taken.filter(({ acknowledgement }) => !known.has(acknowledgement));
  if (rest.length === 0) return true;
  try {
    if (model.greetingIsDue) model.received('220 mx.example\r\n');
    for (let { due } = model; due !== null; due = model.due) {
      if (due.outcome === 'either') return false;
      const mail = model.mailIsDue && due.outcome === 'yes' ? rest.shift() : undefined;
      if (model.mailIsDue && due.outcome === 'yes' && mail === undefined) return true;
      model.received(
        due.outcome === 'no'
          ? '550 x\r\n'
          : `${due.code} ${mail === undefined ? 'x' : `2.0.0 ${mail.acknowledgement}`}\r\n`,
      );
    }
    return true;
  } catch {
    return false; // Half a reply had come.
  }
}

function compareMails(told: readonly AcknowledgedMail[], taken: readonly TakenMail[], left: boolean): string | null {
  for (const mail of told) {
    const found = taken.filter(({ acknowledgement }) => acknowledgement === mail.acknowledgement);
    const [only] = found;
    if (only === undefined || found.length > 1)
      return `${mail.acknowledgement} was acknowledged, and taken ${found.length} times`;
    if (only.body !== mail.body) return `sent ${JSON.stringify(mail.body)}, taken ${JSON.stringify(only.body)}`;
    const sameRecipients =
      only.recipients.length === mail.recipients.length &&
      mail.recipients.every((recipient, index) => recipient === null || recipient === only.recipients[index]);
    if (!sameRecipients) return `acknowledged for ${mail.recipients.join()}, taken for ${only.recipients.join()}`;
  }
  const untold = taken.filter(({ acknowledgement }) => told.every((mail) => mail.acknowledgement !== acknowledgement));
  const [mail] = untold;
  if (mail === undefined) return null;
  return `a mail was taken ${left ? 'that was not sent whole' : 'and not acknowledged'}: ${JSON.stringify(mail.body)}`;
}
