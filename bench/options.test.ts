import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Options, parseOptions, UsageError } from './options.ts';
import { chooseScenarios, describe, groups, loadsFor, parseSize, type Scenario } from './scenarios.ts';
import { disagreements } from './side.ts';

const parsed = (...args: string[]): Options => {
  const options = parseOptions(args);
  assert.ok(options !== 'help');
  return options;
};
const names = (...args: string[]): readonly string[] => chooseScenarios(parsed(...args).dimensions).map(describe);

test('without options every group is measured, in scenarios that differ', () => {
  const all = chooseScenarios(parsed().dimensions);
  assert.deepEqual([...new Set(all.map(({ group }) => group))], groups);
  assert.equal(new Set(all.map(describe)).size, all.length);
  assert.equal(parsed().rounds, 5);
});

test('dimensions multiply, where they mean something', () => {
  assert.deepEqual(
    names('--only', 'acceptance', '--sizes', '10KB,1.5 MB', '--senders', '1,100', '--sessions', 'own,reused'),
    [
      '10 KB, own connection, 1 sender',
      '10 KB, reused sessions, 1 sender',
      '10 KB, own connection, 100 senders',
      '10 KB, reused sessions, 100 senders',
      '1.5 MB, own connection, 1 sender',
      '1.5 MB, reused sessions, 1 sender',
      '1.5 MB, own connection, 100 senders',
      '1.5 MB, reused sessions, 100 senders',
    ],
  );
  assert.deepEqual(names('--only', 'extraction', '--senders', '1,20'), ['10 KB, extraction alone']);
  assert.deepEqual(names('--only', 'memory', '--sizes', '25MB'), ['100 × 25 MB at once']);
});

test('sizes are decimal', () => {
  assert.deepEqual(['10KB', '1 MB', '2.5mb', '700', '1kib', '', '-1'].map(parseSize), [
    10_000,
    1e6,
    2.5e6,
    700,
    null,
    null,
    null,
  ]);
});

test('peers are known by name, host and port', () => {
  assert.deepEqual(parsed('--peer', 'postfix=127.0.0.1:2604', '--peer', 'other=[::1]:25').peers, [
    { name: 'postfix', host: '127.0.0.1', port: 2604 },
    { name: 'other', host: '::1', port: 25 },
  ]);
});

test('objects are files unless the environment is to say otherwise', () => {
  assert.equal(parsed().objectStorage, 'files');
  assert.equal(parsed('--object-storage', 'env').objectStorage, 'env');
});

test('what is not understood is said, not guessed', () => {
  const wrong = [
    '--object-storage=s3',
    '--rounds=0',
    '--rounds=1.5',
    '--peer=127.0.0.1:25',
    '--only=all',
    '--sizes=big',
    '--load=swaks',
    '--seconds=-1',
    '--roles=http',
    '--nonsense',
    'word',
  ];
  for (const arg of wrong) assert.throws(() => parseOptions([arg]), UsageError, arg);
});

test('smtp-source repeats the scenarios of the bars, and does all acceptance when it is alone', () => {
  const [bar, other] = [true, false].map(
    (value): Scenario => ({ group: 'acceptance', sizeBytes: 1, senders: 1, reuse: false, bar: value }),
  );
  assert.ok(bar && other);
  assert.deepEqual(loadsFor(bar, ['client', 'smtp-source']), ['client', 'smtp-source']);
  assert.deepEqual(loadsFor(other, ['client', 'smtp-source']), ['client']);
  assert.deepEqual(loadsFor(other, ['smtp-source']), ['smtp-source']);
  assert.deepEqual(loadsFor({ ...bar, group: 'parsed' }, ['smtp-source']), ['client']);
});

test('every way in which the books disagree with the replies is named', () => {
  const before = { messages: 5, unfinished: 0, parsed: 5, failed: 0, conflicts: 0, documents: 5, documentJobs: 5 };
  const after = { ...before, messages: 8, parsed: 8, documents: 11, documentJobs: 11 };
  const books = { accepted: 3, replies: { '250': 3 }, before, after, documentsPerMail: 2 };
  assert.deepEqual(disagreements(books), []);
  assert.deepEqual(disagreements({ ...books, accepted: 4, documentsPerMail: null }), [
    '4 mails were answered 250: expected 4 messages, found 3',
  ]);
  for (const name of ['messages', 'conflicts', 'failed', 'parsed', 'documents', 'documentJobs'] as const) {
    const problems = disagreements({ ...books, after: { ...after, [name]: after[name] + 1 } });
    assert.equal(problems.length, 1, name);
    assert.match(problems[0] ?? '', new RegExp(name));
  }
  assert.deepEqual(disagreements({ ...books, replies: { '250': 3, '452': 2, ECONNRESET: 1 } }), [
    'not accepted: 2 × 452, 1 × ECONNRESET',
  ]);
});
