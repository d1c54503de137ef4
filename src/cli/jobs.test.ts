import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { createMemoryToolbox, createTestCli } from './test-context.ts';

const ID = '01890a5d-ac96-774b-bcce-b302099a8057';
const DOCUMENT = { id: ID, orgId: ID, traceId: 't', status: 'EXTRACTED', stored: true, waits: false } as const;

function cliWith(jobs: Partial<ReturnType<typeof createMemoryToolbox>['jobs']>) {
  const toolbox = createMemoryToolbox();
  return createTestCli({ compose: { openToolbox: async () => ({ ...toolbox, jobs: { ...toolbox.jobs, ...jobs } }) } });
}

describe('jobs requeue', () => {
  it('prints the documents whose jobs were put back, and how many had one', async () => {
    const moments: Date[] = [];
    const cli = cliWith({
      storedBefore: async (before) => {
        moments.push(before);
        return { requeued: [ID], live: 2 };
      },
    });
    const told = await cli.run('jobs', 'requeue', '--stored-before', '2026-03-01T10:00:00+01:00');
    assert.deepEqual([told.code, told.stdout], [0, `${ID}\n`]);
    assert.match(told.stderr, /1 queued again, 2 had a live job already/);
    const { stdout } = await cli.run('jobs', 'requeue', '--stored-before', '2h', '--json');
    assert.deepEqual(JSON.parse(stdout), { requeued: 1, live: 2, document_ids: [ID] });
    assert.equal(moments[0]?.toISOString(), '2026-03-01T09:00:00.000Z');
    assert.ok(Math.abs(Date.now() - 7_200_000 - (moments[1]?.getTime() ?? 0)) < 60_000);
  });

  it('says why there is nothing to queue', async () => {
    for (const [answer, words] of [
      [null, /no document/],
      [{ done: DOCUMENT }, /is EXTRACTED: the next stage has finished it/],
      [{ done: { ...DOCUMENT, status: 'FAILED', stored: false } }, /has no stored file/],
    ] as const) {
      const { code, stderr } = await cliWith({ document: async () => answer }).run('jobs', 'requeue', '--document', ID);
      assert.equal(code, 1);
      assert.match(stderr, words);
    }
  });

  it('wants one of the two, and a time that is one', async () => {
    const cli = cliWith({});
    for (const args of [
      [],
      ['--document', ID, '--stored-before', '1h'],
      ['--stored-before', 'yesterday'],
      ['--document', '7'],
    ]) {
      assert.equal((await cli.run('jobs', 'requeue', ...args)).code, 2, args.join(' '));
    }
  });
});
