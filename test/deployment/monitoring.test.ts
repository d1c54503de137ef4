/**
 * Alert rules and dashboard against the product itself: it takes mails of every outcome, and every metric, label and
 * label value that an expression names must then stand in its /metrics. The rules' own unit tests run in promtool.
 */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { refusals } from '../../src/intake/refusals.ts';
import { replies } from '../../src/smtp/index.ts';
import { documentStatuses, errorTypes, objectStoreOperations } from '../../src/telemetry/metrics.ts';
import { cleanUp } from '../../src/testing/clean-up.ts';
import { createTestDatabase } from '../../src/testing/database.ts';
import { missing } from '../../src/testing/missing.ts';
import { startProduct } from '../../src/testing/product.ts';
import { sendRaw } from '../../src/testing/smtp-client.ts';
import { temporaryFolder } from '../../src/testing/temporary-folder.ts';
import { waitFor } from '../../src/testing/wait-for.ts';
import { addOrganisation } from './organisation.ts';
import { loadPackage, readYaml } from './packages.ts';
import { type Asked, type PromqlPackage, readPromql } from './promql.ts';

const deploy = join(import.meta.dirname, '../../deploy');
const prometheus = join(deploy, 'prometheus');
const ruleTests = ['rules.test.yaml', 'rules-days.test.yaml'].map((name) => join(prometheus, name));
const JOB = 'orderflow-ingest';

interface Rule {
  readonly alert: string;
  readonly expr: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
}

async function alertRules(): Promise<readonly Rule[]> {
  const [file] = await readYaml(join(prometheus, 'rules.yaml'));
  return (file as { groups: { rules: Rule[] }[] }).groups.flatMap(({ rules }) => rules);
}

interface Panel {
  readonly id: number;
  readonly title: string;
  readonly gridPos: { readonly x: number; readonly y: number; readonly w: number; readonly h: number };
  readonly targets: readonly { readonly expr: string }[];
}

async function dashboard() {
  const text = await readFile(join(deploy, 'grafana/dashboards/orderflow-ingest.json'), 'utf8');
  return JSON.parse(text) as {
    readonly panels: readonly Panel[];
    readonly templating: { readonly list: readonly { readonly name: string; readonly definition?: string }[] };
  };
}

for (const [what, ...words] of [
  ['the configuration', 'check', 'config', join(prometheus, 'prometheus.yaml')],
  ["the rules' own tests", 'test', 'rules', ...ruleTests],
] as const) {
  test(`promtool passes ${what}`, (t) => {
    const { error, status, stdout, stderr } = spawnSync('promtool', words, { encoding: 'utf8', timeout: 120_000 });
    if (error !== undefined) return missing(t, 'promtool', "Debian's package prometheus brings it");
    assert.equal(status, 0, stdout + stderr);
  });
}

test('each configuration names the job as the rules do', async () => {
  // Debian's promtool is built without Kubernetes: it cannot check that one.
  for (const name of ['prometheus.yaml', 'prometheus-kubernetes.yaml']) {
    const [file] = await readYaml(join(prometheus, name));
    const { rule_files: rules, scrape_configs: jobs } = file as Record<string, { job_name?: string }[]>;
    assert.deepEqual(rules, ['rules.yaml']);
    assert.deepEqual(
      jobs?.map(({ job_name: job }) => job),
      [JOB],
    );
  }
});

test('every alert has a test in which it fires and one in which it is silent, a severity and words', async () => {
  const files = (await Promise.all(ruleTests.map(readYaml))).flat() as {
    tests: { alert_rule_test: { alertname: string; exp_alerts?: unknown[] }[] }[];
  }[];
  const cases = files.flatMap(({ tests }) => tests.flatMap((one) => one.alert_rule_test));
  const rules = await alertRules();
  assert.ok(rules.length > 10);
  for (const { alert, labels, annotations } of rules) {
    const own = cases.filter(({ alertname }) => alertname === alert);
    assert.ok(
      own.some((one) => (one.exp_alerts ?? []).length > 0),
      `${alert} never fires in a test`,
    );
    assert.ok(
      own.some((one) => (one.exp_alerts ?? []).length === 0),
      `${alert} is never silent in a test`,
    );
    assert.match(labels.severity ?? '', /^(warning|critical)$/, alert);
    assert.ok(annotations.summary && annotations.description, alert);
  }
});

test('what the rules and the dashboard ask for is what the product says of itself', async (t) => {
  const grammar = loadPackage<PromqlPackage>(t, '@prometheus-io/lezer-promql');
  if (grammar === null) return;
  const expressions = [
    ...(await alertRules()).map(({ alert, expr }) => [alert, expr] as const),
    ...(await dashboard()).panels.flatMap(({ title, targets }) => targets.map(({ expr }) => [title, expr] as const)),
  ];
  assert.ok(expressions.length > 40);
  const exposed = await scrapeOfEveryOutcome(t);
  const findings = expressions.flatMap(([where, expr]) => {
    const asked = readPromql(grammar, expr.replaceAll('$__rate_interval', '5m'));
    return objections(asked, exposed).map((objection) => `${where}: ${objection}`);
  });
  assert.deepEqual(findings, []);
});

test('docs/operations.md: each metric to watch is the product’s, and has an alert', async (t) => {
  const page = await readFile(join(deploy, '../docs/operations.md'), 'utf8');
  const [, section = ''] = /^## What to watch\n(.*?)^## /ms.exec(page) ?? [];
  const columns = [...section.matchAll(/^\| (`.*?) \| /gm)].map(([, column = '']) => column);
  const watched = columns.flatMap((column) => [...column.matchAll(/`([a-z_]+)(?:\{(.*?)\})?/g)]);
  assert.ok(watched.length > 15);
  const exposed = await scrapeOfEveryOutcome(t);
  const alerts = (await alertRules()).map(({ expr }) => expr).join('\n');
  for (const [, metric = '', inBraces] of watched) {
    const labels = exposed.get(metric) ?? exposed.get(`${metric}_bucket`);
    assert.ok(labels !== undefined, `${metric} is no metric of the product`);
    for (const one of inBraces?.split(',') ?? []) {
      const [, label = '', value] = /^(\w+)(?:="(.*)")?$/.exec(one) ?? [];
      assert.ok(labels.has(label), `${metric} has no label ${one}`);
      assert.deepEqual(value === undefined ? [] : impossibleValues(label, '=', value), []);
    }
    assert.match(alerts, new RegExp(`\\b${metric}(_bucket)?\\b`), `no alert asks for ${metric}`);
  }
});

test('the guard sees a metric, a label and a value that are not there', (t) => {
  const grammar = loadPackage<PromqlPackage>(t, '@prometheus-io/lezer-promql');
  if (grammar === null) return;
  const exposed = new Map([['jobs_waiting', new Set(['task'])]]);
  const of = (expr: string) => objections(readPromql(grammar, expr), exposed);
  assert.deepEqual(of('max by (task) (jobs_waiting{task="extract_document"}) > 1'), []);
  assert.deepEqual(of('rate(jobs_wating[5m])'), ['jobs_wating is no metric of the product']);
  assert.deepEqual(of('jobs_waiting{queue="x"}'), ['jobs_waiting has no label queue']);
  assert.deepEqual(of('sum by (queue) (jobs_waiting)'), ['nothing here has a label queue']);
  assert.deepEqual(of('jobs_waiting{task="extract"}'), ['task is never extract']);
  assert.throws(() => of('sum(jobs_waiting'), /not PromQL/);
});

test('the dashboard shows what an operator asks for, each panel in a place of its own', async () => {
  const { panels, templating } = await dashboard();
  const asked = panels.flatMap(({ targets }) => targets.map(({ expr }) => expr)).join('\n');
  for (const metric of [
    'smtp_emails_received_total{org_id=~"$org_id"}',
    'smtp_replies_total{code=~"4.."}',
    'smtp_ack_duration_seconds_bucket',
    'smtp_message_size_bytes_bucket',
    'smtp_attachment_extraction_duration_ms_bucket',
    'jobs_waiting',
    'documents',
    'document_oldest_stored_seconds',
    'ready',
    'smtp_processing_errors_total{org_id=~"$org_id"}',
    'smtp_emails_received_total{status="conflict",org_id=~"$org_id"}',
  ]) {
    assert.ok(asked.includes(metric), metric);
  }
  assert.equal(new Set(panels.map(({ id }) => id)).size, panels.length);
  for (const [index, { title, gridPos: a }] of panels.entries()) {
    assert.ok(a.x + a.w <= 24, title);
    for (const { gridPos: b } of panels.slice(0, index)) {
      const apart = a.x >= b.x + b.w || b.x >= a.x + a.w || a.y >= b.y + b.h || b.y >= a.y + a.h;
      assert.ok(apart, `${title} lies over another panel`);
    }
  }
  const variables = templating.list.map(({ name }) => name);
  const used = new Set(
    JSON.stringify(panels)
      .match(/\$\{?(?!__)[a-z_]+/g)
      ?.map((name) => name.replace(/^\$\{?/, '')),
  );
  assert.deepEqual([...used].toSorted(), variables.toSorted());
});

/** Shape: label names by metric. */
type Exposed = ReadonlyMap<string, ReadonlySet<string>>;

/** Closed sets; the values of any other label cannot be told beforehand. */
const knownValues: Readonly<Record<string, readonly string[]>> = {
  condition: Object.keys({ ...replies, ...refusals }),
  code: [...new Set(Object.values({ ...replies, ...refusals }).map(({ code }) => String(code)))],
  error_type: errorTypes,
  op: objectStoreOperations,
  status: [
    'accepted',
    'duplicate',
    'conflict',
    'rejected',
    'RECEIVED',
    'STORED',
    'PARSED',
    'FAILED',
    ...documentStatuses,
  ],
  part: ['database', 'object_store', 'smtp', 'jobs'],
  task: ['extract_attachments', 'extract_document'],
  job: [JOB],
};

/** Prometheus adds these to what it scrapes. */
const targetLabels = ['job', 'instance'];

function objections({ selectors, groupedBy }: Asked, exposed: Exposed): readonly string[] {
  const found: string[] = [];
  const allLabels = new Set(targetLabels);
  for (const { metric, matchers } of selectors) {
    const labels = metric === 'up' ? new Set<string>() : exposed.get(metric);
    if (labels === undefined) {
      found.push(`${metric} is no metric of the product`);
      continue;
    }
    for (const label of labels) allLabels.add(label);
    for (const { label, operator, value } of matchers) {
      if (!labels.has(label) && !targetLabels.includes(label)) found.push(`${metric} has no label ${label}`);
      else found.push(...impossibleValues(label, operator, value));
    }
  }
  const unknown = groupedBy.filter((label) => selectors.length > found.length && !allLabels.has(label));
  return [...found, ...unknown.map((label) => `nothing here has a label ${label}`)];
}

function impossibleValues(label: string, operator: string, value: string): readonly string[] {
  const known = knownValues[label];
  if (known === undefined || value.startsWith('$')) return [];
  const wanted = operator.endsWith('~') ? value.split('|') : [value];
  return wanted
    .filter((one) => !known.some((each) => new RegExp(`^(?:${one})$`).test(each)))
    .map((one) => `${label} is never ${one}`);
}

/** Mails that are accepted, doubled, in conflict, refused and unreadable; then /metrics. */
async function scrapeOfEveryOutcome(t: TestContext): Promise<Exposed> {
  const database = await createTestDatabase();
  cleanUp(t, () => database.close());
  await addOrganisation(database.url, 'acme');
  const product = await startProduct(t, { env: { DATABASE_URL: database.url }, dataDir: await temporaryFolder(t) });
  const send = async (data: string, to = 'orders+acme@orderflow.example.com') =>
    (await sendRaw({ port: product.smtpPort, from: 'buyer@customer.example', to: [to], data })).verdict.code;
  const order = 'Message-ID: <1@x>\r\nContent-Disposition: attachment; filename=order.csv\r\n\r\nsku;amount\r\n';
  // Deeper than any mail: the worker gives it up.
  const unreadable = `${'Content-Type: message/rfc822\r\n\r\n'.repeat(150)}Subject: x\r\n\r\n`;
  assert.deepEqual(
    [await send(order), await send(order), await send(`${order}more\r\n`), await send(unreadable)],
    [250, 250, 250, 250],
  );
  assert.equal(await send(order, 'orders+nobody@orderflow.example.com'), 550);
  const scrape = async () =>
    (await fetch(`${product.httpUrl}/metrics`, { signal: AbortSignal.timeout(10_000) })).text();
  const text = await waitFor(
    async () => {
      const now = await scrape();
      const done =
        /^inbound_messages\{status="PARSED"\} 1$/m.test(now) && /^inbound_messages\{status="FAILED"\} 1$/m.test(now);
      return done && now;
    },
    { what: 'a message to be PARSED and one FAILED in /metrics', intervalMs: 100 },
  );
  const exposed = new Map<string, Set<string>>();
  for (const [, metric = '', labels = ''] of text.matchAll(/^([a-z]\w*)(?:\{(.*)\})? \S+$/gm)) {
    const known = exposed.get(metric) ?? new Set();
    for (const [, label = ''] of labels.matchAll(/(\w+)="/g)) known.add(label);
    exposed.set(metric, known);
  }
  return exposed;
}
