import assert from 'node:assert/strict';
import { test } from 'node:test';
import { clockFinding } from '../ports/clock-offset.ts';
import { judgeRoom, judgeType } from './data-folder.ts';
import { judgeSync } from './disk-sync.ts';
import { checkClock, checkDescriptors, checkMemory, checkNode, checkThreads, readDescriptorLimit } from './host.ts';
import { runChecks } from './run-checks.ts';

const MIB = 1024 * 1024;
const otherClock = (aheadMs: number, roundTripMs = 0) =>
  clockFinding({ other: 'the server', otherNowMs: 1e12 + aheadMs, askedAtMs: 1e12 - roundTripMs, answeredAtMs: 1e12 });
const disk = (over: object) =>
  judgeRoom({ bsize: 4096, blocks: 25_000_000, bavail: 10_000_000, files: 6e6, ffree: 5e6, ...over }).at(-1);

for (const [what, finding, state, words] of [
  ['an old Node', checkNode('v22.1.0'), 'broken', /22\.1\.0 is too old/],
  ['this Node', checkNode(process.version), 'ok', /Node/],
  ['a small container', checkMemory(256 * MIB, 8192 * MIB), 'warning', /only 256 MiB.*limit of this container/],
  ['no limit of its own', checkMemory(Number.MAX_SAFE_INTEGER, 8192 * MIB), 'ok', /^8192 MiB of memory$/],
  ['the thread pool of Node by default', checkThreads(undefined), 'warning', /not set: at most 4 files/],
  ['our thread pool', checkThreads('32'), 'ok', /32 threads/],
  ['few descriptors', checkDescriptors(1024, 1000), 'broken', /only 1024 .* SMTP_MAX_CONNECTIONS=1000 needs 2200/],
  ['few connections', checkDescriptors(1024, 100), 'ok', /1024 files/],
  ['unknown descriptors', checkDescriptors(null, 100_000), 'ok', /not known/],
  ['a clock of 1970', checkClock(new Date(0)), 'broken', /1970-01-01.*cannot be/],
  ['a clock of 2200', checkClock(new Date('2200-01-01')), 'broken', /cannot be/],
  ['our clock', checkClock(new Date()), 'ok', /this machine says/],
  ['another clock that agrees', otherClock(4_000), 'ok', /agrees/],
  ['another clock somewhat ahead', otherClock(90_000), 'warning', /90 seconds behind the server/],
  ['another clock far behind', otherClock(-3 * 3_600_000), 'broken', /3 hours ahead of the server/],
  ['a slow answer, which proves nothing', otherClock(0, 16_000), 'ok', /agrees/],
  ['a full disk', disk({ bavail: 1000 }), 'broken', /^full: 3 MiB free of 95\.4 GiB/],
  ['a nearly full disk', disk({ bavail: 200_000 }), 'warning', /^nearly full: 781 MiB/],
  ['a small share of a large disk', disk({ blocks: 1e10, bavail: 1e8 }), 'ok', /free/],
  ['a disk with room', disk({}), 'ok', /38\.1 GiB free/],
  ['few inodes', disk({ ffree: 5_000 }), 'warning', /only 5000 more files/],
  ['no inodes', disk({ ffree: 3 }), 'broken', /only 3 more files/],
  ['a file system that does not count files', disk({ files: 0, ffree: 0 }), 'ok', /free/],
  ['memory for a disk', judgeType('/data', 0x01021994)[0], 'warning', /in memory \(tmpfs\)/],
  ["a container's layer", judgeType('/data', 0x794c7630)[0], 'warning', /overlayfs/],
  ['a sync that cannot be', judgeSync(0.004), 'warning', /4 microseconds, less than any disk/],
  ['a sync of good media', judgeSync(0.04), 'ok', /40 microseconds/],
  ['a slow sync', judgeSync(80), 'warning', /80\.0 milliseconds: every mail waits/],
] as const) {
  test(`${what}: ${state}`, () => {
    assert.equal(finding?.state, state);
    assert.match(finding.found, words);
    assert.equal(finding.mend === null, state === 'ok', 'a remedy, and only where one is needed');
  });
}

test('the limit of open files is found out', async () => {
  assert.ok(((await readDescriptorLimit()) ?? 0) > 0);
});

test('a check that hangs or throws is a finding, and keeps no other from being made', async () => {
  let aborted = false;
  const findings = await runChecks([
    {
      name: 'hangs',
      deadlineMs: 20,
      run: (signal) => {
        signal.addEventListener('abort', () => {
          aborted = true;
        });
        return new Promise(() => {});
      },
    },
    { name: 'throws', run: () => Promise.reject(new Error('out of order\nat line 1')) },
    { name: 'works', run: async () => [{ check: 'works', state: 'ok', found: 'yes', mend: null }] },
  ]);
  assert.deepEqual(
    findings.map(({ check, state, found }) => [check, state, found]),
    [
      ['hangs', 'broken', 'does not answer within 0.02 seconds'],
      ['throws', 'broken', 'could not be looked at: out of order'],
      ['works', 'ok', 'yes'],
    ],
  );
  assert.ok(aborted);
});
