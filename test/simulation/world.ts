/**
 * A world of processes that ask peers, and of timers; nothing in it happens but by the scheduler's choice. Whatever waits,
 * waits as a *step*: a question on its way, an answer on its way back, a reply to a client. Chance picks the next one, says
 * whether it gets lost before or after it took effect, and whether its process dies of it. When no step waits, and now and
 * then although some do, time goes on to the next timer.
 */
import { AsyncLocalStorage } from 'node:async_hooks';
import { type Gate, LinkError, type Peer } from '../../src/testing/memory/gate.ts';
import { type Chance, createChance } from './random.ts';
import type { TimeSource } from './virtual-time.ts';

export interface Actor {
  readonly name: string;
  readonly gate: Gate;
  readonly alive: boolean;
  /** Settles when it dies. */
  readonly died: Promise<void>;
  /** Timers that are set within are its own, and die with it. */
  run<T>(work: () => T): T;
}

/** How often what happens to a step: once in so many; 0 is never. */
export interface StepFaults {
  readonly lostBefore: number;
  readonly lostAfter: number;
  readonly dies: number;
}

export interface World extends TimeSource {
  readonly chance: Chance;
  /** What happened, the last lines of it. */
  readonly trace: readonly string[];
  readonly steps: number;
  faults: StepFaults;
  readonly away: Set<Peer>;
  note(line: string): void;
  actor(name: string, onDeath?: (actor: Actor) => void): Actor;
  kill(actor: Actor): void;
  /** All who wait for this peer hear that they were cut off. */
  cut(peer: Peer): void;
  /** Something on its way that only takes time, of a process; lost with it. */
  onTheWay(actor: Actor, what: string, arrive: () => void): void;
  /** Does the next thing; false when nothing is left that could ever happen. */
  advance(): boolean;
  jump(durationMs: number): void;
}

interface Step {
  readonly actor: Actor;
  readonly peer: Peer | null;
  readonly what: string;
  go(): void;
  cut(): void;
}

interface Timer {
  readonly dueAt: number;
  readonly actor: Actor | undefined;
  readonly fire: () => void;
}

const TRACE_LINES = 4_000;
const BEGINS = Date.UTC(2026, 2, 1, 8);
const SLOW_MS = 1_500;

export function createWorld(seed: number): World {
  const chance = createChance(seed);
  const current = new AsyncLocalStorage<Actor>();
  const trace: string[] = [];
  const timers = new Set<Timer>();
  const away = new Set<Peer>();
  let waiting: Step[] = [];
  let now = BEGINS;
  let steps = 0;
  let faults: StepFaults = { lostBefore: 0, lostAfter: 0, dies: 0 };
  const deaths = new Map<Actor, () => void>();

  const note = (line: string): void => {
    trace.push(`${String(now - BEGINS).padStart(9)} ms  ${line}`);
    if (trace.length > TRACE_LINES) trace.shift();
  };
  const happens = (oneIn: number): boolean => oneIn > 0 && chance.oneIn(oneIn);

  const kill = (actor: Actor): void => {
    if (!actor.alive) return;
    note(`${actor.name} DIES`);
    waiting = waiting.filter((step) => step.actor !== actor);
    for (const timer of timers) if (timer.actor === actor) timers.delete(timer);
    deaths.get(actor)?.();
  };

  function question<T>(actor: Actor, peer: Peer, operation: string, effect: () => T): Promise<T> {
    return new Promise((resolve, reject) => {
      if (!actor.alive) return;
      const what = `${actor.name} → ${peer}: ${operation}`;
      const lose = (sent: boolean, when: string): void => {
        note(`${what}  LOST ${when}`);
        reject(new LinkError(sent, `${peer}: connection lost`));
      };
      /** What the peer does, and the answer that it sends. */
      const take = (): (() => void) => {
        try {
          const result = effect();
          note(what);
          return () => resolve(result);
        } catch (error) {
          note(`${what}  ${String(error)}`);
          return () => reject(error);
        }
      };
      const go = (): void => {
        if (away.has(peer)) lose(false, '(away)');
        else if (happens(faults.lostBefore)) lose(chance.oneIn(2), 'before');
        else if (happens(faults.dies)) {
          if (chance.oneIn(2)) take();
          kill(actor);
        } else {
          const answer = take();
          if (happens(faults.lostAfter)) lose(true, 'after');
          else if (!chance.oneIn(3)) answer();
          else waiting.push({ actor, peer, what, go: answer, cut: () => lose(true, 'after (cut)') });
        }
      };
      waiting.push({ actor, peer, what, go, cut: () => lose(chance.oneIn(2), 'before (cut)') });
    });
  }

  return {
    chance,
    trace,
    away,
    get steps() {
      return steps;
    },
    get faults() {
      return faults;
    },
    set faults(next) {
      faults = next;
    },
    now: () => now,
    fill: chance.fill,
    note,
    kill,
    after(durationMs, fire) {
      const timer = { dueAt: now + durationMs, actor: current.getStore(), fire };
      if (timer.actor?.alive !== false) timers.add(timer);
      return () => void timers.delete(timer);
    },
    actor(name, onDeath) {
      const death = Promise.withResolvers<void>();
      let alive = true;
      const actor: Actor = {
        name,
        died: death.promise,
        get alive() {
          return alive;
        },
        gate: { run: (peer, operation, effect) => question(actor, peer, operation, effect) },
        run: (work) => current.run(actor, work),
      };
      deaths.set(actor, () => {
        alive = false;
        onDeath?.(actor);
        death.resolve();
      });
      return actor;
    },
    cut(peer) {
      const those = waiting.filter((step) => step.peer === peer);
      waiting = waiting.filter((step) => step.peer !== peer);
      for (const step of those) step.cut();
    },
    onTheWay(actor, what, arrive) {
      if (!actor.alive) return;
      const go = (): void => {
        note(what);
        arrive();
      };
      waiting.push({ actor, peer: null, what, go, cut: () => {} });
    },
    advance() {
      steps++;
      const next = [...timers].reduce<Timer | null>(
        (first, timer) => (first === null || timer.dueAt < first.dueAt ? timer : first),
        null,
      );
      if (waiting.length > 0 && (next === null || !chance.oneIn(12))) {
        const [step] = waiting.splice(chance.integer(waiting.length), 1);
        now += chance.oneIn(20) ? chance.integer(SLOW_MS) : chance.integer(5);
        step?.go();
        return true;
      }
      if (next === null) return false;
      timers.delete(next);
      now = Math.max(now, next.dueAt);
      if (next.actor === undefined) next.fire();
      else next.actor.run(next.fire);
      return true;
    },
    jump(durationMs) {
      now += durationMs;
    },
  };
}
