/**
 * Loaded into the product before it starts (`NODE_OPTIONS=--import`): each second it collects garbage and appends to a file what
 * the process then holds. It changes nothing else; that of the product which only a process itself can tell is told by it.
 */
import { appendFileSync } from 'node:fs';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

/** Names the file; without it, as in a child that is no server, there is nothing to do. */
export const PROBE_VARIABLE = 'SOAK_PROBE_FILE';

export interface ProbeSample {
  readonly pid: number;
  readonly rssBytes: number;
  /** Behind a collection. */
  readonly heapBytes: number;
  /** Memory of buffers, outside of the heap. */
  readonly externalBytes: number;
  /** What keeps the event loop, by its kind: timers, sockets, requests. */
  readonly resources: Readonly<Record<string, number>>;
}

const file = process.env[PROBE_VARIABLE];

if (file !== undefined) {
  setFlagsFromString('--expose-gc');
  const collect: () => void = runInNewContext('gc');
  setInterval(() => {
    collect();
    appendFileSync(file, `${JSON.stringify(look())}\n`);
  }, 1_000).unref();
}

function look(): ProbeSample {
  const { rss, heapUsed, external } = process.memoryUsage();
  const resources: Record<string, number> = {};
  for (const kind of process.getActiveResourcesInfo()) resources[kind] = (resources[kind] ?? 0) + 1;
  return { pid: process.pid, rssBytes: rss, heapBytes: heapUsed, externalBytes: external, resources };
}
