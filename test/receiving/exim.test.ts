import { type TestContext, test } from 'node:test';
import { missing } from '../../src/testing/missing.ts';
import { EXIM, noMountNamespace, startRelayingExim } from './exim.ts';
import { handsMailOn, queuesWhileWeAreDown, type RelayCase, refusesTooLarge } from './relay-suite.ts';

/** 24 MiB, with one byte for the end of a line of 76. */
const LIMIT_BYTES = (24 * 1024 * 1024 * 78) / 77;
const CASE: RelayCase = {
  start: startRelayingExim,
  largestBytes: Math.floor(LIMIT_BYTES) - 2_000,
  tooLargeBytes: Math.floor(LIMIT_BYTES) + 2_000,
  unaskedWhileDown: 250,
};

function eximTest(name: string, body: (t: TestContext, relay: RelayCase) => Promise<void>): void {
  test(name, { timeout: 180_000 }, async (t) => {
    if (EXIM === null) return missing(t, 'exim', '.ci/exim unpacks it');
    if (process.getuid?.() !== 0) return t.skip('only root can start Exim');
    const why = noMountNamespace();
    if (why !== null) return missing(t, 'a mount namespace', why);
    await body(t, CASE);
  });
}

eximTest(
  'Exim as docs/receiving.md has it hands mail on, once, also of several organisations and an alias',
  handsMailOn,
);
eximTest('Exim as docs/receiving.md has it refuses what we would, and we take what it takes', refusesTooLarge);
eximTest('Exim as docs/receiving.md has it keeps the mail while we are down', queuesWhileWeAreDown);
