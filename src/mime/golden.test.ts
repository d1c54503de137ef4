/** The mails in testdata/mime, each with what a careful reader sees in it. */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { type MailRecord, recordMail, traceMail } from './mail-record.ts';

interface Golden extends Partial<Omit<MailRecord, 'path'>> {
  readonly about: string;
  readonly attachments: MailRecord['attachments'];
  /** These and no others. */
  readonly defects?: readonly string[];
}

const directory = join(import.meta.dirname, '../../testdata/mime');
const names = readdirSync(directory)
  .filter((file) => file.endsWith('.eml'))
  .map((file) => file.slice(0, -'.eml'.length));

test('there are golden mails, each with its expectation', () => {
  assert.ok(names.length > 70, `${names.length} mails`);
});

describe('golden mails', () => {
  for (const name of names) {
    const mail = readFileSync(join(directory, `${name}.eml`));
    const { about, ...expected } = JSON.parse(readFileSync(join(directory, `${name}.json`), 'utf8')) as Golden;
    test(`${name}: ${about}`, () => {
      const actual = recordMail(name, mail);
      for (const key of Object.keys(expected) as (keyof typeof expected)[]) {
        assert.deepEqual(actual[key], expected[key], key);
      }
      if (expected.limit === undefined) assert.equal(actual.limit, null);
    });
    test(`${name} gives the same events however it is cut`, () => {
      const whole = traceMail(mail, []);
      for (const size of [1, 2, 3, 7, 64, 1000]) {
        const cuts = Array.from({ length: Math.ceil(mail.length / size) }, (_, i) =>
          Math.min(mail.length, (i + 1) * size),
        );
        assert.equal(traceMail(mail, cuts), whole, `pieces of ${size} bytes`);
      }
    });
  }
});
