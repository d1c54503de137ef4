import { describe, it, test } from 'node:test';
import { openFirewall } from '../../src/testing/firewall.ts';
import { openSilentWay } from '../../src/testing/silent-way.ts';
import { redisForgotten, relayKilled } from './redis-relay.ts';

test('kill -9 of the worker while jobs go to Redis: each document reaches the consumer, none twice', (t) =>
  relayKilled(t, { kills: 3 }));

describe('the connection to Redis is forgotten twice: jobs flow again each time', { concurrency: true }, () => {
  it('by the network', (t) => redisForgotten(t, openSilentWay));
  it('by a firewall that drops packets', (t) => redisForgotten(t, openFirewall));
});
