/**
 * A TCP proxy before PostgreSQL that cuts a connection in the one moment where nobody can know: after what commits was
 * sent. That is COMMIT, or, outside of a transaction, the statement that records messages.
 */
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import type { TestContext } from 'node:test';
import { cleanUp } from '../../src/testing/clean-up.ts';

export interface CuttingProxy {
  /** The database's URL, by way of the proxy. */
  readonly url: string;
  /**
   * Cuts at the next commit of a connection with that application name. `forwarded`: the server gets it and answers
   * to nobody. `withheld`: the server never sees it. Resolves when it is cut.
   */
  cutNextCommit(applicationName: string, how: 'forwarded' | 'withheld'): Promise<void>;
}

interface Wanted {
  readonly applicationName: string;
  readonly how: 'forwarded' | 'withheld';
  readonly done: () => void;
}

/** A simple query: type, length, text. */
const COMMIT = Buffer.from('Q\0\0\0\u000bCOMMIT\0', 'latin1');
/** Of a Bind message: the unnamed portal, the name of the statement. */
const RECORDING = Buffer.from('\0insert-inbound-messages\0', 'latin1');
/** The last message of an extended query; the server commits when it gets it. */
const SYNC = Buffer.from('S\0\0\0\u0004', 'latin1');

/** Sees what a client sends, read by read. Shape: true for the read that makes the server commit. */
function watchForCommits(): (bytes: Buffer) => boolean {
  let inTransaction = false;
  let recording = false;
  return (bytes) => {
    if (bytes.includes(COMMIT)) {
      inTransaction = false;
      return true;
    }
    if (/BEGIN/.test(bytes.toString('latin1', 0, 20))) inTransaction = true;
    if (/^Q....ROLLBACK/s.test(bytes.toString('latin1', 0, 20))) inTransaction = false;
    recording ||= !inTransaction && bytes.includes(RECORDING);
    if (!recording || !bytes.subarray(-SYNC.length).equals(SYNC)) return false;
    recording = false;
    return true;
  };
}

export async function openCuttingProxy(t: TestContext, databaseUrl: string): Promise<CuttingProxy> {
  const target = new URL(databaseUrl);
  const wanted: Wanted[] = [];
  const sockets = new Set<Socket>();
  const server = createServer({ noDelay: true }, (client) => {
    const upstream = connect({ host: target.hostname, port: Number(target.port), noDelay: true });
    for (const socket of [client, upstream]) {
      sockets.add(socket);
      socket.on('error', () => {});
      socket.on('close', () => sockets.delete(socket));
    }
    let applicationName = '';
    const commits = watchForCommits();
    client.on('data', (bytes: Buffer) => {
      applicationName ||= /application_name\0([^\0]*)\0/.exec(bytes.toString('latin1'))?.[1] ?? '';
      const index = commits(bytes) ? wanted.findIndex((one) => one.applicationName === applicationName) : -1;
      if (index === -1) {
        upstream.write(bytes);
        return;
      }
      const [cut] = wanted.splice(index, 1);
      client.destroy();
      if (cut?.how === 'forwarded') upstream.end(bytes);
      else upstream.destroy();
      cut?.done();
    });
    upstream.on('data', (bytes: Buffer) => void client.write(bytes));
    client.on('close', () => upstream.end());
    upstream.on('close', () => client.destroy());
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  cleanUp(t, () => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  const url = new URL(databaseUrl);
  url.port = String((server.address() as AddressInfo).port);
  return {
    url: url.href,
    cutNextCommit: (applicationName, how) =>
      new Promise((resolve) => wanted.push({ applicationName, how, done: resolve })),
  };
}
