/** Rows that a database refuses for what is in them, today and tomorrow: seen by a sender, in the row and in the log. */
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import pg from 'pg';
import { cleanUp } from '../testing/clean-up.ts';
import { createTestDatabase } from '../testing/database.ts';
import { startProduct } from '../testing/product.ts';
import { sendRaw } from '../testing/smtp-client.ts';
import { temporaryFolder } from '../testing/temporary-folder.ts';
import { waitFor } from '../testing/wait-for.ts';

/** As an operator might have added them: a check on a header field, and a trigger that cannot live with a Message-ID. */
const OF_THE_OPERATOR = `
  INSERT INTO org (slug) VALUES ('acme'), ('globex');
  ALTER TABLE inbound_message ADD CHECK (subject !~ 'poison');
  CREATE FUNCTION judge() RETURNS trigger LANGUAGE plpgsql AS $$
  BEGIN
    IF NEW.source_message_id LIKE '%never%' THEN RAISE 'not this one' USING ERRCODE = '22023'; END IF;
    RETURN NEW;
  END $$;
  CREATE TRIGGER judge BEFORE INSERT ON inbound_message FOR EACH ROW EXECUTE FUNCTION judge()`;

async function startWithConstraints(t: TestContext) {
  const database = await createTestDatabase();
  cleanUp(t, () => database.close());
  const client = new pg.Client({ connectionString: database.url });
  await client.connect();
  cleanUp(t, () => client.end());
  await client.query(OF_THE_OPERATOR);
  const env = { DATABASE_URL: database.url };
  return { client, product: await startProduct(t, { dataDir: await temporaryFolder(t), env }) };
}

/** Without a boundary, so that the worker has a note of its own. */
const mail = (id: string, subject: string): string =>
  `Message-ID: <${id}@buyer.example>\r\nFrom: b@buyer.example\r\nSubject: ${subject}\r\n` +
  'Content-Type: multipart/mixed\r\n\r\n--x\r\nContent-Disposition: attachment; filename=a.csv\r\n\r\n1;2\r\n--x--\r\n';

test('a refused field costs the row its free text, not the mail; refused again, 554 and one line', async (t) => {
  const { client, product } = await startWithConstraints(t);
  const offer = async (data: string, ...slugs: string[]) => {
    const to = slugs.map((slug) => `orders+${slug}@orderflow.example.com`);
    const { verdict } = await sendRaw({ port: product.smtpPort, from: 'buyer@example.com', to, data });
    return `${verdict.code} ${verdict.lines[0]}`;
  };

  assert.match(await offer(mail('1', 'fine'), 'acme'), /^250 2\.0\.0 accepted/);
  assert.match(await offer(mail('2', 'poison'), 'acme', 'globex'), /^250 2\.0\.0 accepted \S+ \S+$/);
  assert.match(await offer(mail('2', 'poison'), 'acme'), /^250 2\.0\.0 duplicate/);
  assert.match(await offer(mail('never', 'fine'), 'acme'), /^554 5\.6\.0 /);

  await waitFor(
    async () => (await client.query(`SELECT FROM inbound_message WHERE status = 'PARSED'`)).rowCount === 3,
    { what: 'the extraction' },
  );
  const { rows } = await client.query(
    `SELECT source_message_id AS id, subject, from_email AS "from", to_email IS NOT NULL AS "to", reverse_path AS path,
       ARRAY(SELECT note->>'code' FROM jsonb_array_elements(notes_json) AS note) AS notes
     FROM inbound_message JOIN org ON org.id = org_id ORDER BY source_message_id, slug`,
  );
  const own = rows[0]?.notes;
  assert.ok(Array.isArray(own) && own.length > 0, 'the worker has a note');
  const whole = { subject: 'fine', from: 'buyer@example.com', to: true, path: 'buyer@example.com', notes: own };
  const bare = { subject: null, from: null, to: true, path: null, notes: ['field-unstorable', ...own] };
  assert.deepEqual(rows, [
    { id: '<1@buyer.example>', ...whole },
    { id: '<2@buyer.example>', ...bare },
    { id: '<2@buyer.example>', ...bare },
  ]);
  const jobs = await client.query<{ traced: boolean }>(
    `SELECT payload::jsonb ? 'traceparent' AS traced FROM graphile_worker._private_jobs`,
  );
  assert.ok(jobs.rows.every(({ traced }) => !traced));

  const errors = product.log.filter(({ level }) => level === 'error' || Number(level) >= 50);
  assert.deepEqual(
    errors.map(({ msg, error_type }) => [msg, error_type]),
    [['mail not taken: a fault of ours', 'row-refused']],
  );
  const refusals = product.log.filter(
    ({ msg }) => msg === 'the database refused a field: recorded without its free text',
  );
  assert.ok(refusals.length >= 2 && refusals.every(({ reason }) => /violates check constraint/.test(String(reason))));
  assert.deepEqual(new Set(refusals.map(({ level }) => level)), new Set(['warn']));
});
