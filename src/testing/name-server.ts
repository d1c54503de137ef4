/** A real name server (dnsmasq) on loopback that knows the records of one test, and says NXDOMAIN to everything else. */
import { type ChildProcess, spawn } from 'node:child_process';
import { promises as dns } from 'node:dns';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import type { TestContext } from 'node:test';
import { cleanUp } from './clean-up.ts';
import { freePort } from './free-port.ts';
import { missing } from './missing.ts';
import { waitFor } from './wait-for.ts';

const PROGRAMS = ['/usr/sbin/dnsmasq', '/usr/bin/dnsmasq'];

export type TestRecord =
  | { readonly name: string; readonly address: string }
  /** An exchange of '' is the null MX. */
  | { readonly name: string; readonly mx: string; readonly priority?: number }
  /** The alias's target has to have an address here. */
  | { readonly name: string; readonly alias: string };

export interface NameServer {
  /** As `--dns-servers` takes it. */
  readonly address: string;
}

/** Shape: null when there is no dnsmasq on this machine; the test is then skipped, and should return. */
export async function startNameServer(t: TestContext, records: readonly TestRecord[]): Promise<NameServer | null> {
  const program = PROGRAMS.find(existsSync);
  if (program === undefined) {
    missing(t, 'dnsmasq', 'apt-get install dnsmasq-base');
    return null;
  }
  const port = await freePort();
  const options = [
    'keep-in-foreground',
    'conf-file=/dev/null',
    'pid-file=',
    `port=${port}`,
    'listen-address=127.0.0.1',
  ];
  const alone = [
    'bind-interfaces',
    'no-resolv',
    'no-hosts',
    'local=/#/',
    'log-facility=-',
    'address=/probe.invalid/127.0.0.1',
  ];
  const args = [...options, ...alone, ...records.map(recordOption)].map((option) => `--${option}`);
  const child = spawn(program, args, { stdio: ['ignore', 'ignore', 'pipe'] });
  let said = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    said += text;
  });
  cleanUp(t, () => end(child));
  const address = `127.0.0.1:${port}`;
  await waitFor(() => answers(child, address), { what: 'dnsmasq to answer' }).catch((error: unknown) =>
    Promise.reject(new Error(`dnsmasq does not answer\n${said}`, { cause: error })),
  );
  return { address };
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  child.kill('SIGKILL');
  await once(child, 'exit');
}

async function answers(child: ChildProcess, address: string): Promise<boolean> {
  if (child.exitCode !== null) throw new Error(`it ended with ${child.exitCode}`);
  const resolver = new dns.Resolver({ timeout: 500, tries: 1 });
  resolver.setServers([address]);
  return (await resolver.resolve4('probe.invalid')).length === 1;
}

function recordOption(record: TestRecord): string {
  if ('address' in record) return `host-record=${record.name},${record.address}`;
  if ('alias' in record) return `cname=${record.name},${record.alias}`;
  // By number and octets: its own option for MX records takes no null MX.
  return `dns-rr=${record.name},15,${mxOctets(record.mx, record.priority ?? (record.mx === '' ? 0 : 10)).toString('hex')}`;
}

/** Spec: RFC 1035 §3.3.9 */
function mxOctets(exchange: string, priority: number): Buffer {
  const labels = exchange === '' ? [] : exchange.split('.');
  const encoded = labels.map((label) => Buffer.from([label.length, ...Buffer.from(label)]));
  return Buffer.concat([Buffer.from([priority >> 8, priority & 255]), ...encoded, Buffer.from([0])]);
}
