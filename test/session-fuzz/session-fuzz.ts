/** Dialogues without end, several at a time; what is found is made short, so that it can be read. */

import type { SecureContext } from 'node:tls';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { createDialogue, type Dialogue, type House } from './dialogue.ts';
import { type FuzzedServer, startFuzzedServer } from './fuzzed-server.ts';
import { type Held, holdDialogue } from './hold-dialogue.ts';

export interface FuzzOptions {
  readonly seed: number;
  /** Ends when so many lines were read. */
  readonly lines: number;
  /** Of one dialogue alone, counted from 0. */
  readonly dialogue?: number;
  /** null: no STARTTLS. */
  readonly secureContext: SecureContext | null;
}

export interface Finding {
  readonly dialogue: number;
  readonly problem: string;
  /** With as few steps as still have a problem; whole where it was not seen again. */
  readonly shortened: Dialogue;
}

export interface FuzzReport {
  readonly dialogues: number;
  readonly lines: number;
  readonly commands: number;
  readonly mails: number;
  /** Sessions whose client was gone, or stalled, before it could have all replies. */
  readonly cut: number;
  /** Commands by the state they met. */
  readonly states: ReadonlyMap<string, number>;
  readonly peakHeldBytes: number;
  /** Of this process, behind a collection: after a fifth of the lines (0: there were not so many), and at the end. */
  readonly heapBytes: { readonly early: number; readonly late: number };
  readonly findings: readonly Finding[];
}

/** Some megabytes come and go with the collector; a session of 10 KB that stayed would be 20 MiB in 50,000 lines. */
export const maxHeapGrowthBytes = 4 * 2 ** 20;

/** Sessions wait for turns of the event loop, not for the processor. */
const lanes = 48;
/** The first is what one reads; a broken build breaks everything. */
const maxFindings = 3;

export async function fuzzSessions(options: FuzzOptions): Promise<FuzzReport> {
  const findings: Finding[] = [];
  const states = new Map<string, number>();
  const sum = { dialogues: 0, lines: 0, commands: 0, mails: 0, cut: 0, peakHeldBytes: 0 };
  let next = options.dialogue ?? 0;
  let early = 0;
  const wanted = (): boolean =>
    options.dialogue === undefined
      ? sum.lines < options.lines && findings.length < maxFindings
      : next === options.dialogue;
  const add = ({ model, peakHeldBytes, cut }: Held): void => {
    sum.dialogues++;
    if (cut) sum.cut++;
    sum.lines += model.lines;
    sum.commands += model.commands;
    sum.mails += model.acknowledged.length;
    sum.peakHeldBytes = Math.max(sum.peakHeldBytes, peakHeldBytes);
    for (const [name, count] of model.states) states.set(name, (states.get(name) ?? 0) + count);
    if (early === 0 && options.dialogue === undefined && sum.lines > options.lines / 5) early = collectedHeapBytes();
  };
  const lane = async (): Promise<void> => {
    const servers = createServers(options.secureContext);
    try {
      while (wanted()) {
        const number = next++;
        const dialogue = createDialogue(dialogueSeed(options.seed, number));
        const held = await holdDialogue(await servers.of(dialogue.house), dialogue);
        add(held);
        if (held.problem === null || findings.length >= maxFindings) continue;
        const index = findings.push({ dialogue: number, problem: held.problem, shortened: dialogue }) - 1;
        if (index === 0) findings[0] = await shorten(findings[0] as Finding, servers);
      }
    } finally {
      await servers.close();
    }
  };
  await Promise.all(Array.from({ length: options.dialogue === undefined ? lanes : 1 }, lane));
  return { ...sum, states, heapBytes: { early, late: collectedHeapBytes() }, findings };
}

/** Dialogues of neighbouring seeds have nothing in common. */
function dialogueSeed(seed: number, number: number): number {
  return (Math.imul(seed, 0x9e3779b1) ^ Math.imul(number + 1, 0x85ebca6b)) >>> 0;
}

interface Servers {
  of(house: House): Promise<FuzzedServer>;
  close(): Promise<void>;
}

function createServers(secureContext: SecureContext | null): Servers {
  const started = new Map<House, Promise<FuzzedServer>>();
  return {
    of(house) {
      const server = started.get(house) ?? startFuzzedServer(house, secureContext);
      started.set(house, server);
      return server;
    },
    async close() {
      for (const server of started.values()) await (await server).close();
    },
  };
}

/** Steps are left out one after another, from the end, as long as something goes wrong without them. */
async function shorten(finding: Finding, servers: Servers): Promise<Finding> {
  const server = await servers.of(finding.shortened.house);
  const until = performance.now() + 20_000;
  let { shortened, problem } = finding;
  for (let index = shortened.steps.length - 1; index >= 0 && performance.now() < until; index--) {
    const without = { ...shortened, steps: shortened.steps.filter((_, each) => each !== index) };
    const held = await holdDialogue(server, without);
    if (held.problem === null) continue;
    shortened = without;
    problem = held.problem;
  }
  return { dialogue: finding.dialogue, problem, shortened };
}

function collectedHeapBytes(): number {
  setFlagsFromString('--expose-gc');
  const collect: () => void = runInNewContext('gc');
  collect();
  return process.memoryUsage().heapUsed;
}
