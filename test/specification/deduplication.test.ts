/** "Deduplication Tests" of the specification's testing strategy, in its words, and story 4. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { acceptedId, acceptedIds, assertSameItems } from './support/assertions.ts';
import { sendByNodemailer } from './support/clients.ts';
import { startIngest } from './support/ingest.ts';
import { CSV, mail, mailWith, PDF, SPREADSHEET, textPart } from './support/mails.ts';
import { sha256 } from './support/objects.ts';

const ACME = 'orders+acme@orderflow.example.com';
const GLOBEX = 'orders+globex@orderflow.example.com';

test('Deduplication Tests', async (t) => {
  const ingest = await startIngest(t, { organisations: ['acme', 'globex'] });
  const { rows, objects } = ingest;
  const received = (status: string, slug = 'acme') =>
    ingest.metric('smtp_emails_received_total', { org_id: ingest.orgId(slug), status });

  await t.test('Send same email twice to same org (should deduplicate)', async () => {
    const data = mailWith([PDF]);
    const { message, documents } = await ingest.take(data);
    const keys = await objects.keys();
    assert.equal(await ingest.send({ data }), `250 2.0.0 duplicate of ${message.id}`);
    await rows.settled();
    assert.deepEqual(await rows.documents(message.id), documents);
    assert.deepEqual(await objects.keys(), keys, 'no orphan object');
    const warning = await ingest.waitForLog({ msg: 'duplicate mail: it is here already' });
    assert.deepEqual(
      [warning.level, warning.message_id, warning.org_id, warning.inbound_message_id],
      ['warn', message.source_message_id, message.org_id, message.id],
    );
    assert.notEqual(warning.trace_id, message.trace_id, 'the duplicate is a transaction of its own');
    assert.equal(await received('duplicate'), 1);
  });

  await t.test('Send same email to different orgs (should NOT deduplicate)', async () => {
    const data = mailWith([PDF]);
    const first = await ingest.take(data, { to: [ACME] });
    const second = await ingest.take(data, { to: [GLOBEX] });
    assert.equal(first.message.source_message_id, second.message.source_message_id);
    assert.deepEqual([first.message.org_id, second.message.org_id], [ingest.orgId('acme'), ingest.orgId('globex')]);
    assert.deepEqual([first.documents.length, second.documents.length], [1, 1]);
    assert.notEqual(first.documents[0]?.id, second.documents[0]?.id);
  });

  await t.test('Send different emails with same subject (should NOT deduplicate)', async () => {
    const fields = ['Subject: Order 4711'];
    const [first, second] = [await ingest.take(mailWith([PDF], fields)), await ingest.take(mailWith([PDF], fields))];
    assert.notEqual(first.message.id, second.message.id);
    assert.deepEqual([first.message.subject, second.message.subject], ['Order 4711', 'Order 4711']);
    assert.deepEqual([first.documents.length, second.documents.length], [1, 1]);
  });

  await t.test('Test Message-ID collision handling', async (t) => {
    const id = ['Message-ID: <guessed@customer.example>'];
    const first = await ingest.take(mailWith([PDF], id));
    const other = mailWith([CSV], [...id, 'Subject: quite another order', 'From: other@customer.example']);

    await t.test(
      'the other mail is kept aside with its bytes, never thrown away, and makes no second row',
      async () => {
        const messages = await rows.messages();
        const conflictId = acceptedId(await ingest.send({ data: other, from: 'other@customer.example' }));
        assert.deepEqual(await rows.messages(), messages);
        const conflict = (await rows.conflicts()).find(({ id }) => id === conflictId);
        assert.equal(conflict?.inbound_message_id, first.message.id);
        assert.equal(conflict.org_id, ingest.orgId('acme'));
        assert.deepEqual(
          [conflict.subject, conflict.from_email, conflict.to_email, conflict.size_bytes, conflict.raw_sha256],
          ['quite another order', 'other@customer.example', ACME, other.length, sha256(other)],
        );
        assert.ok((await objects.read(conflict.raw_storage_key)).equals(other));
        await ingest.waitForLog({ level: 'warn', inbound_message_id: conflictId, trace_id: conflict.trace_id });
        assert.equal(await received('conflict'), 1);
      },
    );
    await t.test('the same one again is a duplicate of what was kept', async () => {
      const [kept] = await rows.conflicts();
      assert.equal(await ingest.send({ data: other }), `250 2.0.0 duplicate of ${kept?.id}`);
      assert.equal((await rows.conflicts()).length, 1);
    });
    await t.test('a Message-ID differs by case; by white space and folding it does not', async () => {
      const upper = await ingest.take(mailWith([PDF], ['Message-ID: <GUESSED@customer.example>']));
      assert.equal(upper.message.source_message_id, '<GUESSED@customer.example>');
      const folded = mailWith([PDF], ['Message-ID: \r\n\t<GUESSED@customer.example>  ']);
      assert.match(await ingest.send({ data: folded }), /^250 2\.0\.0 (duplicate of|accepted) /);
      const ids = (await rows.messages()).map(({ source_message_id }) => source_message_id);
      assert.equal(ids.filter((one) => one.toLowerCase() === '<guessed@customer.example>').length, 2);
    });
  });

  await t.test(
    'SC-003, TC-003: twenty of the same mail at once make one row, one object and one job for each document',
    async () => {
      const data = mailWith([PDF, SPREADSHEET]);
      const verdicts = await Promise.all(Array.from({ length: 20 }, () => ingest.send({ data })));
      const [accepted, ...further] = verdicts.filter((verdict) => verdict.startsWith('250 2.0.0 accepted'));
      assert.deepEqual(further, []);
      const id = acceptedId(accepted ?? '');
      const duplicates = verdicts.filter((verdict) => verdict === `250 2.0.0 duplicate of ${id}`);
      assert.equal(duplicates.length, 19);
      await rows.settled();
      const documents = await rows.documents(id);
      assert.equal(documents.length, 2);
      const jobs = (await rows.jobs('extract_document')).filter(({ payload }) =>
        documents.some((document) => document.id === payload.document_id),
      );
      assert.equal(jobs.length, 2);
      await objects.assertMatchRows(rows);
    },
  );

  await t.test('a redelivery through another hop, with another Received header, is a duplicate', async () => {
    const data = mailWith([PDF], ['Message-ID: <hops@customer.example>']);
    const hop = (name: string) =>
      Buffer.concat([Buffer.from(`Received: from ${name} by mx; Sun, 1 Mar 2026\r\n`), data]);
    const { message } = await ingest.take(hop('one'));
    assert.equal(await ingest.send({ data: hop('two') }), `250 2.0.0 duplicate of ${message.id}`);
    await objects.assertMatchRows(rows);
  });

  await t.test(
    'a mail without Message-ID gets a synthetic id: the same mail again is a duplicate, another order is not',
    async () => {
      const fields = ['Message-ID: -', 'Subject: no id'];
      const { message } = await ingest.take(mailWith([PDF], fields));
      assert.match(message.source_message_id, /^<[0-9a-f]{64}@synthetic\.invalid>$/);
      assert.equal(message.message_id_synthetic, true);
      // Its own copy: the boundary is part of the content.
      const raw = await objects.read(message.raw_storage_key);
      assert.equal(await ingest.send({ data: raw }), `250 2.0.0 duplicate of ${message.id}`);
      for (const other of [
        mailWith([CSV], fields),
        Buffer.from(raw.toString('latin1').replace('no id', 'also no id'), 'latin1'),
        Buffer.from(raw.toString('latin1').replace('10:00:00', '10:00:01'), 'latin1'),
      ]) {
        acceptedId(await ingest.send({ data: other }));
      }
    },
  );

  await t.test('mails without a header, or with text among its fields, are told apart by all they say', async () => {
    for (const [one, other] of [
      ['100 bolts, please\r\n', '200 bolts, please\r\n'],
      ['quantity: 100\r\n', 'quantity: 200\r\n'],
      [
        'Subject: order\r\n100 bolts, please\r\n\r\nregards\r\n',
        'Subject: order\r\n200 bolts, please\r\n\r\nregards\r\n',
      ],
    ] as const) {
      const first = await ingest.take(one);
      const second = await ingest.take(other);
      assert.notEqual(first.message.id, second.message.id);
      assert.equal(await ingest.send({ data: one }), `250 2.0.0 duplicate of ${first.message.id}`);
    }
  });

  await t.test(
    'a mail for several organisations: one row and one object each; one of them has it already',
    async () => {
      const data = mailWith([PDF]);
      const first = acceptedId(await ingest.send({ data, to: [ACME] }));
      const verdict = await ingest.send({ data, to: [GLOBEX, ACME, 'Orders+ACME@OrderFlow.Example.com'] });
      const [fresh, known] = acceptedIds(verdict, 2);
      assert.equal(known, first);
      assert.equal((await rows.message(fresh ?? '')).org_id, ingest.orgId('globex'));
      assert.equal(await ingest.send({ data, to: [ACME, GLOBEX] }), `250 2.0.0 duplicate of ${first} ${fresh}`);
    },
  );

  await t.test('nodemailer, sending the same message object twice, is told so', async () => {
    const message = { messageId: '<same@customer.example>', date: new Date(0), text: 'an order', subject: 'twice' };
    const first = acceptedId((await sendByNodemailer(ingest, message)).verdict);
    const { verdict } = await sendByNodemailer(ingest, message);
    assert.equal(verdict, `250 2.0.0 duplicate of ${first}`);
  });

  await t.test(
    'after all that, every object belongs to a row, every row has its object, and no identity is there twice',
    async () => {
      await rows.settled();
      await objects.assertMatchRows(rows);
      const identities = (await rows.messages()).map(({ org_id, source_message_id }) => [org_id, source_message_id]);
      assertSameItems(
        identities,
        [...new Map(identities.map((one) => [one.join(), one])).values()],
        'each identity once',
      );
    },
  );
});

test('Message-ID extraction: an order in plain words is a message as well', async (t) => {
  const ingest = await startIngest(t);
  for (const [field, expected] of [
    ['Message-ID: <plain@customer.example>', '<plain@customer.example>'],
    ['Message-Id: bare@customer.example', 'bare@customer.example'],
    ['MESSAGE-ID: "x" <commented@customer.example> (y)', '<commented@customer.example>'],
  ] as const) {
    const { message } = await ingest.take(mail(textPart('words'), ['Message-ID: -', field]));
    assert.equal(message.source_message_id, expected);
    assert.equal(message.message_id_synthetic, false);
  }
});
