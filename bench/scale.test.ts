import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';
import { test } from 'node:test';
import { runLoad } from './load-run.ts';
import { UsageError } from './options.ts';
import {
  BASE,
  casesOf,
  dimensions,
  isMeasured,
  parseScaleOptions,
  productKey,
  type ScaleOptions,
} from './scale-cases.ts';
import { perMail, type ScaleSeries, scaleTable } from './scale-report.ts';

const parsed = (...args: string[]): ScaleOptions => {
  const options = parseScaleOptions(args);
  assert.ok(options !== 'help');
  return options;
};

test('each case differs from the base in one thing, and the base comes first', () => {
  for (const dimension of dimensions) {
    const [first, ...others] = casesOf(dimension, null);
    assert.deepEqual(first?.case, BASE);
    assert.ok(others.length > 0);
    for (const { case: one } of others) {
      const differing = Object.keys(BASE).filter(
        (key) => one[key as keyof typeof one] !== BASE[key as keyof typeof BASE],
      );
      assert.equal(differing.length, 1, dimension);
    }
  }
});

test('values asked for take the place of the usual ones, beside the base', () => {
  const { only, values } = parsed('--only', 'sizes,rows', '--sizes', '1MB', '--rows', '0,500');
  assert.deepEqual(only, ['sizes', 'rows']);
  const labels = only.map((one) => casesOf(one, values[one] ?? null).map(({ label }) => label));
  assert.deepEqual(labels, [
    ['10 KB a mail', '1 MB a mail'],
    ['0 mails in the tables', '500 mails in the tables'],
  ]);
});

test('cases that differ only in what is sent share a product', () => {
  const keys = (dimension: 'senders' | 'rows') =>
    new Set(casesOf(dimension, null).map(({ case: one }) => productKey(one)));
  assert.deepEqual([keys('senders').size, keys('rows').size], [1, 3]);
});

test('mails that wait to be read are not measured where they would be read', () => {
  assert.deepEqual([isMeasured('unread', 'take'), isMeasured('unread', 'parsed')], [true, false]);
});

test('wrong usage is told', () => {
  for (const args of [
    ['--only', 'size'],
    ['--senders', '0'],
    ['--rows', '-1'],
    ['--sizes', 'big'],
    ['--rounds', '1.5'],
    ['x'],
  ]) {
    assert.throws(() => parseScaleOptions(args), UsageError, args.join(' '));
  }
  assert.equal(parseScaleOptions(['--help']), 'help');
});

const series = (label: string, rates: readonly number[], cpuMs: number | null): ScaleSeries => ({
  dimension: 'rows',
  way: 'take',
  label,
  case: BASE,
  turns: rates.map((rate) => ({
    mails: rate,
    elapsedMs: 1000,
    mailsPerSecond: rate,
    ackP95Ms: 20,
    productCpuMs: cpuMs === null ? null : cpuMs * rate,
    postgresCpuMs: cpuMs === null ? null : cpuMs * rate,
  })),
});

test('medians are told, and what they are of the base', () => {
  const [header, , base, other] = scaleTable([series('none', [100, 200, 1000], 1), series('many', [50, 100, 110], 3)])
    .split('\n')
    .map((line) => line.split('|').map((cell) => cell.trim()));
  assert.equal(header?.[1], 'what');
  assert.deepEqual(base?.slice(1, -1), ['**none**', 'taken', '200 (100–1000)', '—', '1.00', '1.00', '—', '20.0']);
  assert.deepEqual(other?.slice(1, -1), ['many', 'taken', '100 (50.0–110)', '0.50', '3.00', '3.00', '3.00', '20.0']);
});

test('processor time that nobody saw is no zero', () => {
  const unseen = series('none', [100], null);
  assert.equal(perMail(unseen, 'productCpuMs'), null);
  assert.match(scaleTable([unseen]), /— +\| — +\| — /);
});

test('mails for many organisations go to each in turn', async (t) => {
  const recipients: string[] = [];
  const server = createServer((socket) => {
    socket.on('error', () => {});
    socket.write('220 here\r\n');
    socket.on('data', (bytes) => {
      const text = bytes.toString('latin1');
      recipients.push(...(/RCPT TO:<(.*)>/.exec(text)?.slice(1) ?? []));
      socket.write(text.startsWith('DATA') ? '354 go on\r\n' : '250 well\r\n');
      if (text.startsWith('QUIT')) socket.end();
    });
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => server.close());
  const { port } = server.address() as AddressInfo;
  const job = { host: '127.0.0.1', port, senders: 1, reuse: false, sizeBytes: 2_000, run: 'test' };
  const { accepted } = await runLoad({ ...job, until: { mails: 4 }, organisations: 3 });
  assert.equal(accepted, 4);
  assert.deepEqual(
    recipients,
    [0, 1, 2, 0].map((n) => `orders+org-${n}@orderflow.example.com`),
  );
});
