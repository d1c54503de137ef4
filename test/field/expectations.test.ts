import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import { temporaryFolder } from '../../src/testing/temporary-folder.ts';
import { expectedDigest, type FieldFolder, readFieldFolder } from './expectations.ts';

const nothing = { documents: [], notes: [] };

async function folderOf(t: TestContext, mails: readonly string[], expectations: object): Promise<() => FieldFolder> {
  const folder = await temporaryFolder(t);
  for (const name of mails) await writeFile(join(folder, name), 'Subject: Order\r\n\r\n');
  const file = join(folder, 'expected.json');
  await writeFile(file, JSON.stringify({ kinds: {}, files: {}, mails: {}, ...expectations }));
  return () => readFieldFolder(folder, file);
}

describe('a folder of field mails', () => {
  it('is read by kind, kinds and mails in order', async (t) => {
    const kinds = { '02': 'names', '01': 'dates' };
    const mails = { '02b.eml': nothing, '02a.eml': nothing, '01a.eml': nothing };
    const read = await folderOf(t, ['02b.eml', '01a.eml', '02a.eml'], { kinds, mails });
    assert.deepEqual(
      read().kinds.map(({ title, mails: ofKind }) => [title, ofKind.map(({ name }) => name)]),
      [
        ['01 dates', ['01a.eml']],
        ['02 names', ['02a.eml', '02b.eml']],
      ],
    );
  });

  it('fails when it is empty', async (t) => {
    assert.throws(await folderOf(t, [], {}), /no mails/);
  });

  it('fails when a mail has no expectation, or an expectation no mail', async (t) => {
    const kinds = { '01': 'dates' };
    const read = await folderOf(t, ['01a.eml'], { kinds, mails: { '01b.eml': nothing } });
    assert.throws(read, /01a\.eml has no expectation\n01b\.eml is not there/);
  });

  it('fails when a mail is of no kind, or a kind has no mail', async (t) => {
    const read = await folderOf(t, ['01a.eml'], { kinds: { '02': 'names' }, mails: { '01a.eml': nothing } });
    assert.throws(read, /01a\.eml is of no kind\nkind 02 has no mail/);
  });

  it('fails when an expectation leaves documents or notes open', async (t) => {
    const kinds = { '01': 'dates' };
    for (const expected of [{ documents: [] }, { notes: [] }]) {
      const read = await folderOf(t, ['01a.eml'], { kinds, mails: { '01a.eml': expected } });
      assert.throws(read, /01a\.eml does not give documents and notes/);
    }
  });

  it('knows bytes by text, by size and digest, and by the name of a file', () => {
    const document = { part: '1', name: 'a.txt', type: 'text/plain' };
    const abc = { size: 3, sha256: 'ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad' };
    assert.deepEqual(expectedDigest({ ...document, text: 'abc' }, {}), abc);
    assert.deepEqual(expectedDigest({ ...document, ...abc }, {}), abc);
    assert.deepEqual(expectedDigest({ ...document, file: 'abc' }, { abc }), abc);
    assert.throws(() => expectedDigest({ ...document, file: 'xyz' }, { abc }), /no file "xyz"/);
  });
});
