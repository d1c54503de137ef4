import assert from 'node:assert/strict';
import { describe, it, type TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { createCourtesy } from './courtesy.ts';

const never = new AbortController().signal;

/** Keeps the event loop without a pause until the test is over, seeing mail or not. */
function keepBusy(t: TestContext, each: () => void): void {
  let over = false;
  t.after(() => {
    over = true;
  });
  const spin = (): void => {
    const until = performance.now() + 5;
    while (performance.now() < until);
    each();
    if (!over) setImmediate(spin);
  };
  spin();
}

async function settled(turn: Promise<void>, withinMs: number): Promise<boolean> {
  return Promise.race([turn.then(() => true), sleep(withinMs, false)]);
}

describe('jobs beside mail', { timeout: 20_000 }, () => {
  it('begin at once while nothing is going on', async (t) => {
    const courtesy = createCourtesy();
    t.after(courtesy.close);
    await sleep(200);
    assert.equal(await settled(courtesy.turn(never), 0), true);
  });

  it('begin at once in a process that is busy, but not with mail', async (t) => {
    const courtesy = createCourtesy();
    t.after(courtesy.close);
    keepBusy(t, () => {});
    await sleep(200);
    assert.equal(await settled(courtesy.turn(never), 0), true);
  });

  it('wait while mail keeps the process busy, but not for ever', async (t) => {
    const courtesy = createCourtesy();
    t.after(courtesy.close);
    keepBusy(t, courtesy.mailSeen);
    await sleep(200);
    const turn = courtesy.turn(never);
    assert.equal(await settled(turn, 20), false);
    await turn;
  });

  it('stop waiting when the process stops', async (t) => {
    const courtesy = createCourtesy();
    t.after(courtesy.close);
    keepBusy(t, courtesy.mailSeen);
    await sleep(200);
    await assert.rejects(courtesy.turn(AbortSignal.timeout(20)));
  });
});
