import { type TestContext, test } from 'node:test';
import { missing } from '../../src/testing/missing.ts';
import { POSTFIX } from '../specification/support/postfix.ts';
import { startRelayingPostfix } from './postfix.ts';
import { handsMailOn, queuesWhileWeAreDown, type RelayCase, refusesTooLarge } from './relay-suite.ts';

/** Its `message_size_limit`, of which its own Received line is no part. */
const CASE: RelayCase = {
  start: startRelayingPostfix,
  largestBytes: 25_999_000,
  tooLargeBytes: 26_001_000,
  unaskedWhileDown: 450,
};

function postfixTest(name: string, body: (t: TestContext, relay: RelayCase) => Promise<void>): void {
  test(name, { timeout: 180_000 }, async (t) => {
    if (POSTFIX === null) return missing(t, 'postfix', 'apt-get install postfix');
    if (process.getuid?.() !== 0) return t.skip('only root can start Postfix');
    await body(t, CASE);
  });
}

postfixTest(
  'Postfix as docs/receiving.md has it hands mail on, once, also of several organisations and an alias',
  handsMailOn,
);
postfixTest('Postfix as docs/receiving.md has it refuses what we would, and we take what it takes', refusesTooLarge);
postfixTest('Postfix as docs/receiving.md has it keeps the mail while we are down', queuesWhileWeAreDown);
