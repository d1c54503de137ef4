import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ownTimes, placeOf } from './profile.ts';

test('code is told apart by where it comes from', () => {
  assert.equal(placeOf('file:///srv/app/src/smtp/body.ts'), 'src/smtp');
  assert.equal(placeOf('file:///srv/app/src/version.ts'), 'src');
  assert.equal(placeOf('file:///srv/app/src/adapters/fs/incoming.ts'), 'src/adapters/fs');
  assert.equal(placeOf('file:///srv/app/node_modules/pg/lib/client.js'), 'package pg');
  assert.equal(placeOf('/srv/app/node_modules/@graphile/logger/index.js'), 'package @graphile/logger');
  assert.equal(placeOf('node:internal/streams/writable'), 'node:internal');
  assert.equal(placeOf('node:net'), 'node:net');
  assert.equal(placeOf(''), 'runtime');
});

test('own time is summed by name, most first, and being idle is no use of time', () => {
  const frame = (functionName: string, url: string, lineNumber = 9) => ({ functionName, url, lineNumber });
  const profile = {
    nodes: [
      { id: 1, callFrame: frame('(idle)', '') },
      { id: 2, callFrame: frame('push', 'file:///a/src/smtp/body.ts') },
      { id: 3, callFrame: frame('', 'node:net') },
      { id: 4, callFrame: frame('push', 'file:///a/src/smtp/body.ts') },
    ],
    samples: [1, 2, 3, 4, 2],
    timeDeltas: [5_000, 1_000, 2_500, 500, 2_000],
  };
  assert.deepEqual(
    ownTimes(profile, (place) => place),
    [
      { name: 'src/smtp', ms: 3.5 },
      { name: 'node:net', ms: 2.5 },
    ],
  );
  assert.deepEqual(
    ownTimes(profile, (_, name) => name),
    [
      { name: 'push body.ts:10', ms: 3.5 },
      { name: '(anonymous) node:net:10', ms: 2.5 },
    ],
  );
});
