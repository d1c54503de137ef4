/** What `doctor` says of Redis. */
import { broken, type Finding, ok, warning } from '../../ports/finding.ts';
import { probeRedis } from './probe.ts';

const CHECK = 'redis';

export async function examineRedis(url: string): Promise<readonly Finding[]> {
  const { problem, warnings, version } = await probeRedis(url);
  if (problem !== null) {
    const mend = 'mend that, or REDIS_URL; until then mail is taken, and jobs wait in the database';
    return [broken(CHECK, `REDIS_URL: Redis ${problem}`, mend)];
  }
  return [
    ok(CHECK, `Redis ${version ?? ''} can be reached`.replace('  ', ' ')),
    ...warnings.map((line) => warning(CHECK, `Redis ${line}`, 'change that in redis.conf')),
  ];
}
