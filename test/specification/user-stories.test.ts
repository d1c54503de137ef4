/** The acceptance scenarios of the four user stories, as a buyer's mail program (Python's smtplib) meets them. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Pool } from 'pg';
import { missing } from '../../src/testing/missing.ts';
import { acceptedId, acceptedIds } from './support/assertions.ts';
import { type FileToSend, SMTPLIB, sendBySmtplib } from './support/clients.ts';
import { type Ingest, startIngest, type Taken } from './support/ingest.ts';
import { base64Part, LOGO, mail, mailWith, multipart, ORDER, PDF, textPart, ZIP } from './support/mails.ts';
import { sha256 } from './support/objects.ts';

const addressOf = (slug: string): string => `orders+${slug}@orderflow.example.com`;

let orders = 0;

/** A new order by smtplib, and what became of it. */
async function order(ingest: Ingest, attachments: readonly FileToSend[], to = addressOf('acme')): Promise<Taken> {
  orders++;
  const headers = [
    ['From', 'buyer@customer.example'],
    ['To', to],
    ['Subject', `Order ${orders}`],
    ['Message-ID', `<story-${orders}@customer.example>`],
  ] as const;
  const { verdict } = await sendBySmtplib({ ...ingest, to: [to] }, { headers, text: 'Our order.', attachments });
  const id = acceptedId(verdict);
  await ingest.rows.settled();
  return { message: await ingest.rows.message(id), documents: await ingest.rows.documents(id) };
}

test('Story 1 and FR-009: RECEIVED when it is received, then STORED, then PARSED', async (t) => {
  const ingest = await startIngest(t, { args: ['--roles', 'smtp,http'] });
  await recordStatusChanges(ingest.pool);
  const data = mailWith(ORDER);

  await t.test('Scenario 1.1, FR-001, FR-005: an email with a PDF attachment is received and stored', async () => {
    const id = acceptedId(await ingest.send({ data }));
    const { raw_storage_key } = await ingest.rows.message(id);
    assert.ok((await ingest.objects.read(raw_storage_key)).equals(data));
  });
  await t.test('Scenario 1.2, FR-006: an inbound_message record is created with status=RECEIVED', async () => {
    const [message] = await ingest.rows.messages();
    assert.deepEqual([message?.status, message?.source, message?.parts_json], ['RECEIVED', 'EMAIL', null]);
    const jobs = (await ingest.rows.jobs('extract_attachments')).map(({ payload }) => payload);
    const { id, org_id, trace_id } = message ?? assert.fail();
    assert.deepEqual(jobs, [{ inbound_message_id: id, org_id, trace_id }]);
  });
  await t.test('TC-004: the raw mail is stored before anything is parsed', async () => {
    assert.deepEqual(await ingest.rows.documents(), []);
    assert.equal((await ingest.objects.keys()).length, 1);
  });
  await t.test('the worker brings it from RECEIVED to STORED to PARSED, once each', async () => {
    await ingest.startAnother({}, ['--roles', 'worker,http']);
    await ingest.rows.settled();
    const { rows } = await ingest.pool.query('SELECT was, becomes FROM status_change ORDER BY at');
    assert.deepEqual(rows, [
      { was: null, becomes: 'RECEIVED' },
      { was: 'RECEIVED', becomes: 'STORED' },
      { was: 'STORED', becomes: 'PARSED' },
    ]);
  });
  await t.test('FR-009: the database refuses every other change', async () => {
    for (const status of ['RECEIVED', 'STORED', 'FAILED']) {
      await assert.rejects(ingest.pool.query('UPDATE inbound_message SET status = $1', [status]), /cannot become/);
    }
  });
});

/** What no client can see, because it goes by too fast. */
async function recordStatusChanges(pool: Pool): Promise<void> {
  await pool.query(`
    CREATE TABLE status_change (at bigint GENERATED ALWAYS AS IDENTITY, was text, becomes text);
    GRANT ALL ON status_change TO orderflow_tenant;
    CREATE FUNCTION note_status() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
      IF TG_OP = 'INSERT' OR OLD.status <> NEW.status THEN
        INSERT INTO status_change (was, becomes) VALUES (CASE WHEN TG_OP = 'UPDATE' THEN OLD.status END, NEW.status);
      END IF;
      RETURN NULL;
    END $$;
    CREATE TRIGGER note_status AFTER INSERT OR UPDATE ON inbound_message FOR EACH ROW EXECUTE FUNCTION note_status()`);
}

test('Stories 1 to 4, by smtplib', async (t) => {
  if (SMTPLIB === null) return missing(t, 'python3', 'apt-get install python3');
  const ingest = await startIngest(t, { organisations: ['acme', 'orga', 'orgb'] });
  const { rows, objects } = ingest;

  await t.test('Scenario 1.3, FR-004, FR-007: each attachment is a document record of its own', async () => {
    const { message, documents } = await order(ingest, ORDER);
    assert.equal(message.status, 'PARSED');
    assert.deepEqual(
      documents.map(({ file_name, inbound_message_id }) => [file_name, inbound_message_id]),
      ORDER.map(({ name }) => [name, message.id]),
    );
  });
  await t.test('Scenario 1.4: without attachments an inbound_message, no documents, a warning', async () => {
    const { message, documents } = await order(ingest, []);
    assert.deepEqual([message.status, documents], ['PARSED', []]);
    await ingest.waitForLog({ msg: 'no attachments in this mail', level: 'warn', inbound_message_id: message.id });
  });

  await t.test('Scenario 2.1, FR-002: the message belongs to the organisation of the plus-address', async () => {
    const { message, documents } = await order(ingest, [PDF]);
    assert.deepEqual([message.org_id, documents[0]?.org_id], [ingest.orgId('acme'), ingest.orgId('acme')]);
    for (const slug of ['orga', 'orgb']) {
      const taken = await order(ingest, [PDF], addressOf(slug));
      assert.deepEqual([taken.message.org_id, taken.message.to_email], [ingest.orgId(slug), addressOf(slug)]);
      assert.match(taken.documents[0]?.storage_key ?? '', new RegExp(`^${ingest.orgId(slug)}/`));
    }
  });
  await t.test(
    'FR-002: only the envelope routes, in any case; a header To of another organisation does not',
    async () => {
      const { message } = await ingest.take(mailWith([PDF], [`To: ${addressOf('orgb')}`]), {
        to: ['ORDERS+OrgA@ORDERFLOW.example.COM'],
      });
      assert.deepEqual([message.org_id, message.header_to], [ingest.orgId('orga'), addressOf('orgb')]);
    },
  );
  await t.test('Scenario 2.2: an unknown plus-address is rejected', async () => {
    const { verdict } = await sendBySmtplib({ ...ingest, to: [addressOf('unknown')] }, mailWith([PDF]));
    assert.equal(verdict, '550 5.1.1 Unknown recipient');
  });
  await t.test(
    "Scenario 2.3: without plus-addressing it is rejected with SMTP 550 error 'Unknown recipient'",
    async () => {
      const { verdict } = await sendBySmtplib({ ...ingest, to: ['orders@orderflow.example.com'] }, mailWith([PDF]));
      assert.equal(verdict, '550 5.1.1 Unknown recipient');
    },
  );

  await t.test('Scenario 3.1: the PDF is in object storage and has a document record', async () => {
    const [document] = (await order(ingest, [PDF])).documents;
    assert.ok((await objects.read(document?.storage_key ?? '')).equals(PDF.content));
  });
  await t.test('Scenario 3.2: multiple attachments are all extracted and stored', async () => {
    const { documents } = await order(ingest, [...ORDER, ...ORDER]);
    assert.deepEqual(
      documents.map(({ sha256 }) => sha256),
      [...ORDER, ...ORDER].map(({ content }) => sha256(content)),
    );
  });
  await t.test('Scenario 3.3, TC-002: file attachments are documents, inline images are not', async () => {
    const html = textPart('<img src="cid:logo@x">', 'html');
    const logo = base64Part(
      ['Content-Type: image/png', 'Content-ID: <logo@x>', 'Content-Disposition: inline'],
      LOGO.content,
    );
    const pdf = base64Part(['Content-Type: application/pdf; name=a.pdf'], PDF.content);
    const data = mail(
      multipart('mixed', [multipart('alternative', [textPart('x'), multipart('related', [html, logo])]), pdf]),
    );
    const { verdict } = await sendBySmtplib(ingest, data);
    await rows.settled();
    const documents = await rows.documents(acceptedId(verdict));
    assert.deepEqual(
      documents.map(({ file_name }) => file_name),
      ['a.pdf'],
    );
  });
  await t.test("Scenario 3.4: a ZIP is stored as-is with mime_type='application/zip'", async () => {
    const { documents } = await order(ingest, [ZIP]);
    assert.deepEqual(
      documents.map(({ mime_type, sha256 }) => [mime_type, sha256]),
      [['application/zip', sha256(ZIP.content)]],
    );
  });

  await t.test(
    'Scenario 4.1, FR-008, FR-013: the same email again makes no second inbound_message, and is answered 250',
    async () => {
      const data = mailWith([PDF]);
      const first = acceptedId((await sendBySmtplib(ingest, data)).verdict);
      const before = await rows.messages();
      assert.equal((await sendBySmtplib(ingest, data)).verdict, `250 2.0.0 duplicate of ${first}`);
      assert.deepEqual(
        (await rows.messages()).map(({ id }) => id),
        before.map(({ id }) => id),
      );
      const { source_message_id, org_id } = await rows.message(first);
      await ingest.waitForLog({ level: 'warn', message_id: source_message_id, org_id });
    },
  );
  await t.test('Scenario 4.2: two emails with different Message-IDs are both processed', async () => {
    const [one, other] = [await order(ingest, [PDF]), await order(ingest, [PDF])];
    assert.deepEqual([one.documents.length, other.documents.length], [1, 1]);
    assert.notEqual(one.message.id, other.message.id);
  });
  await t.test('Scenario 4.3: the same email to two organisations reaches both', async () => {
    const to = [addressOf('orga'), addressOf('orgb')];
    const { verdict } = await sendBySmtplib({ ...ingest, to }, mailWith([PDF]));
    const ids = acceptedIds(verdict, 2);
    await rows.settled();
    const organisations = await Promise.all(ids.map(async (id) => (await rows.message(id)).org_id));
    assert.deepEqual(organisations, [ingest.orgId('orga'), ingest.orgId('orgb')]);
    for (const id of ids) assert.equal((await rows.documents(id)).length, 1);
  });

  await t.test('after all stories: objects and rows agree', () => objects.assertMatchRows(rows));
});
