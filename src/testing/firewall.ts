/**
 * A real firewall between the product and a server it uses: a network namespace of the test's own, in which nftables drops
 * packets. Unlike a proxy, nothing acknowledges what is sent, and keepalives are not answered.
 */
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import type { TestContext } from 'node:test';
import { promisify } from 'node:util';
import { cleanUp } from './clean-up.ts';
import { missing } from './missing.ts';
import type { Middlebox } from './silent-way.ts';

const run = promisify(execFile);

/** Passes bytes on inside of the namespace; a process of its own, because a process has one namespace. */
const FORWARDER = `
  const net = require('node:net');
  const [host, port, address] = process.argv.slice(1);
  const server = net.createServer((client) => {
    const upstream = net.connect(Number(port), host);
    for (const socket of [client, upstream]) socket.on('error', () => {});
    client.pipe(upstream).pipe(client);
    client.on('close', () => upstream.destroy());
    upstream.on('close', () => client.destroy());
  });
  server.listen(0, address, () => console.log(server.address().port));
`;

let opened = 0;

/** Shape: null when this machine cannot have one; the test is then skipped, and should return. */
export async function openFirewall(t: TestContext, url: string): Promise<Middlebox | null> {
  const number = opened++;
  const name = `of${process.pid}x${number}`;
  const problem = await makeNamespace(name);
  if (problem !== null) {
    missing(t, 'a network namespace with nftables', problem);
    return null;
  }
  cleanUp(t, async () => void (await run('ip', ['netns', 'del', name])));
  const inside = (...command: readonly string[]) => run('ip', ['netns', 'exec', name, ...command]);
  const [here, there] = await joinNamespace(name, process.pid * 4 + number, inside);

  const target = new URL(url);
  const back = await openWayBack(t, here, { host: target.hostname, port: Number(target.port) });
  const forwarder = spawn('ip', ['netns', 'exec', name, process.execPath, '-e', FORWARDER, here, String(back), there], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  cleanUp(t, () => void forwarder.kill());
  const [line] = await once(forwarder.stdout, 'data');
  const port = Number(String(line));

  const nft = (rules: string) => inside('nft', rules);
  await nft(`table ip silence {
    set forgotten { type inet_service; }
    chain drops { }
    chain incoming { type filter hook input priority 0; tcp dport ${port} tcp sport @forgotten drop; jump drops; }
    chain outgoing { type filter hook output priority 0; tcp sport ${port} tcp dport @forgotten drop; jump drops; }
  }`);
  target.host = `${there}:${port}`;
  return {
    url: target.href,
    async silence() {
      await nft(`add rule ip silence drops tcp dport ${port} drop; add rule ip silence drops tcp sport ${port} drop`);
      const { stdout } = await inside('ss', '-Htn', 'state', 'established', 'sport', '=', `:${port}`);
      const ports = [...stdout.matchAll(/:(\d+)\s*$/gm)].map(([, clientPort]) => clientPort);
      if (ports.length > 0) await nft(`add element ip silence forgotten { ${ports.join(', ')} }`);
    },
    async speak() {
      await nft('flush chain ip silence drops');
    },
  };
}

/** Shape: why there is none, or null. */
async function makeNamespace(name: string): Promise<string | null> {
  if (process.platform !== 'linux' || process.getuid?.() !== 0) return 'it takes Linux and root';
  try {
    await run('nft', ['--version']);
    await run('ip', ['netns', 'add', name]);
    return null;
  } catch (error) {
    return `apt-get install nftables iproute2 (${(error as Error).message.trim()})`;
  }
}

/** In a network of four addresses. Shape: our address and its own. */
async function joinNamespace(
  name: string,
  number: number,
  inside: (...command: readonly string[]) => Promise<unknown>,
): Promise<readonly [string, string]> {
  const network = `10.231.${(number >> 6) & 255}`;
  const first = (number & 63) * 4;
  const [ours, its] = [`${network}.${first + 1}`, `${network}.${first + 2}`];
  const [outer, inner] = [`${name}a`, `${name}b`];
  await run('ip', ['link', 'add', outer, 'type', 'veth', 'peer', 'name', inner, 'netns', name]);
  await run('ip', ['address', 'add', `${ours}/30`, 'dev', outer]);
  await run('ip', ['link', 'set', outer, 'up']);
  await inside('ip', 'address', 'add', `${its}/30`, 'dev', inner);
  await inside('ip', 'link', 'set', inner, 'up');
  return [ours, its];
}

/** From the namespace to a server that listens on loopback only. Shape: its port. */
async function openWayBack(t: TestContext, address: string, target: { host: string; port: number }): Promise<number> {
  const sockets = new Set<Socket>();
  const server = createServer((client) => {
    const upstream = connect(target);
    for (const socket of [client, upstream]) {
      sockets.add(socket);
      socket.on('error', () => {});
      socket.on('close', () => sockets.delete(socket));
    }
    client.pipe(upstream).pipe(client);
    client.on('close', () => upstream.destroy());
    upstream.on('close', () => client.destroy());
  });
  server.listen(0, address);
  await once(server, 'listening');
  cleanUp(t, () => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return (server.address() as AddressInfo).port;
}
