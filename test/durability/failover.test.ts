import { describe, it } from 'node:test';
import { missing } from '../../src/testing/missing.ts';
import { failOverUnderProduct, readOnTheOldPrimary } from './failover.ts';
import { whyNoStandby } from './standby.ts';

describe('the database fails over to a standby, and connections to the old primary stay', { concurrency: true }, () => {
  for (const args of [[], ['--processes', '2']]) {
    it(`mail is taken and read again without a restart (start ${args.join(' ')})`, { timeout: 180_000 }, async (t) => {
      const why = whyNoStandby();
      if (why !== null) return missing(t, 'a PostgreSQL with pg_basebackup', why);
      await failOverUnderProduct(t, args);
    });
  }

  it('a mail that was read on the old primary alone is read again', { timeout: 180_000 }, async (t) => {
    const why = whyNoStandby();
    if (why !== null) return missing(t, 'a PostgreSQL with pg_basebackup', why);
    await readOnTheOldPrimary(t);
  });
});
