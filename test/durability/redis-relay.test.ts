import { test } from 'node:test';
import { redisForgotten, relayKilled } from './redis-relay.ts';

test('kill -9 of the worker while jobs go to Redis: each document reaches the consumer, none twice', (t) =>
  relayKilled(t, { kills: 3 }));

test('the network forgets the connection to Redis, twice: jobs flow again each time', (t) => redisForgotten(t));
