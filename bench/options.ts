import { parseArgs } from 'node:util';
import type { LoadName } from './load.ts';
import { type Dimensions, type Group, groups, parseSize } from './scenarios.ts';

export interface Peer {
  readonly name: string;
  readonly host: string;
  readonly port: number;
}

/** `all`: as `start` runs it. `smtp`: acceptance alone, nothing is extracted. `worker`: extraction alone. */
export type ProductRoles = 'all' | 'smtp' | 'worker';

export interface Options {
  readonly dimensions: Dimensions;
  readonly rounds: number;
  readonly seconds: number;
  readonly peers: readonly Peer[];
  readonly loads: readonly LoadName[];
  readonly roles: readonly ProductRoles[];
  readonly processes: number;
  /** `env`: as the OBJECT_STORAGE_* of the bench's own environment say. */
  readonly objectStorage: 'files' | 'env';
  /** null: the system's folder for temporary files. */
  readonly dir: string | null;
  readonly json: string | null;
  readonly cpuProfileDir: string | null;
}

export const HELP = `usage: npm run bench -- [options]

Measures the product, started for it with its embedded parts in a folder of its own, and peers beside it in turn.

  --only LIST        of acceptance, parsed, extraction, beside, memory (default: all)
  --sizes LIST       mails of these sizes, such as 10KB,100KB,1MB,25MB (default: a chosen set)
  --senders LIST     senders at the same time, such as 1,20,100
  --sessions LIST    of own (a connection per mail), reused (many mails a session)
  --rounds N         turns of each side, A B A B (default 5; the way to PARSED at most 3)
  --seconds N        length of a turn (default 1)
  --peer NAME=HOST:PORT   another SMTP server that takes the same mails; may be repeated
  --load LIST        of client (our own), smtp-source (default: both, the second where installed)
  --roles LIST       of all, smtp: measure the whole product, acceptance alone, or both as two sides (default all)
  --processes N      as for start
  --object-storage WHERE   files (default), or env: the store that OBJECT_STORAGE_* in the environment name
  --dir FOLDER       where its data goes while it runs; must be on a real disk (default: the system's temporary folder)
  --json FILE        write everything that was measured
  --cpu-prof FOLDER  write a CPU profile of each of the product's processes; read it with node bench/profile.ts
  --help             this
`;

/** Wrong usage, in one line. */
export class UsageError extends Error {
  override readonly name = 'UsageError';
}

const textOption = { type: 'string' } as const;

/** Errors: UsageError. */
export function parseOptions(args: readonly string[]): Options | 'help' {
  const { values } = parse(args);
  if (values.help) return 'help';
  const list = (text: string | undefined): readonly string[] | null =>
    text?.split(',').map((one) => one.trim()) ?? null;
  return {
    dimensions: {
      only: list(values.only)?.map((one) => oneOf<Group>('only', one, groups)) ?? groups,
      sizes: list(values.sizes)?.map((one) => parseSize(one) ?? wrong('sizes', one)) ?? null,
      senders: list(values.senders)?.map((one) => count('senders', one)) ?? null,
      sessions: list(values.sessions)?.map((one) => oneOf('sessions', one, ['own', 'reused'] as const)) ?? null,
    },
    rounds: count('rounds', values.rounds ?? '5'),
    seconds: positive('seconds', values.seconds ?? '1'),
    peers: (values.peer ?? []).map(parsePeer),
    loads: list(values.load)?.map((one) => oneOf('load', one, ['client', 'smtp-source'] as const)) ?? [
      'client',
      'smtp-source',
    ],
    roles: list(values.roles)?.map((one) => oneOf('roles', one, ['all', 'smtp'] as const)) ?? ['all'],
    processes: count('processes', values.processes ?? '1'),
    objectStorage: oneOf('object-storage', values['object-storage'] ?? 'files', ['files', 'env'] as const),
    dir: values.dir ?? null,
    json: values.json ?? null,
    cpuProfileDir: values['cpu-prof'] ?? null,
  };
}

function parse(args: readonly string[]) {
  try {
    return parseArgs({
      args: [...args],
      options: {
        only: textOption,
        sizes: textOption,
        senders: textOption,
        sessions: textOption,
        rounds: textOption,
        seconds: textOption,
        peer: { type: 'string', multiple: true },
        load: textOption,
        roles: textOption,
        processes: textOption,
        'object-storage': textOption,
        dir: textOption,
        json: textOption,
        'cpu-prof': textOption,
        help: { type: 'boolean' },
      },
    });
  } catch (error) {
    throw new UsageError((error as Error).message);
  }
}

function parsePeer(text: string): Peer {
  const found = /^([^=\s]+)=\[?([^=\s]+?)\]?:(\d+)$/.exec(text);
  if (found === null) return wrong('peer', text);
  return { name: found[1] ?? '', host: found[2] ?? '', port: Number(found[3]) };
}

function oneOf<T extends string>(name: string, text: string, allowed: readonly T[]): T {
  return allowed.find((one) => one === text) ?? wrong(name, text);
}

function positive(name: string, text: string): number {
  const value = Number(text);
  return value > 0 && Number.isFinite(value) ? value : wrong(name, text);
}

function count(name: string, text: string): number {
  const value = positive(name, text);
  return Number.isInteger(value) ? value : wrong(name, text);
}

function wrong(name: string, text: string): never {
  throw new UsageError(`--${name}: not understood: ${JSON.stringify(text)}; --help tells more`);
}
