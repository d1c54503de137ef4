import assert from 'node:assert/strict';
import { access, readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { parseEnv } from 'node:util';
import { rolesArgument } from '../../src/cli/arguments.ts';
import { loadSettings } from '../../src/config/load.ts';
import type { Settings } from '../../src/config/settings.ts';
import { missing } from '../../src/testing/missing.ts';
import { temporaryFolder } from '../../src/testing/temporary-folder.ts';
import {
  type Container,
  type Manifest,
  modelsInstalled,
  type PodSpec,
  renderOverlay,
  schemaObjections,
  typeObjections,
} from './manifests.ts';
import { readYaml } from './packages.ts';

const root = join(import.meta.dirname, '../..');
const folder = join(root, 'deploy/kubernetes');

interface Kustomization {
  readonly resources?: readonly string[];
  readonly components?: readonly string[];
  readonly configMapGenerator?: readonly { readonly name: string; readonly literals: readonly string[] }[];
}

const [base] = (await readYaml(join(folder, 'base/kustomization.yaml'))) as [Kustomization];
const files = await Promise.all((base.resources ?? []).map((name) => readYaml(join(folder, 'base', name))));
const manifests = files.flat() as readonly Manifest[];
const scaledObject = (await readYaml(join(folder, 'components/worker-autoscaling/scaled-object.yaml'))) as Manifest[];

const ofKind = (kind: string, among = manifests) => among.filter((one) => one.kind === kind);
const specOf = <T>(manifest: Manifest | undefined): T => manifest?.spec as T;
const podOf = (deployment: Manifest): PodSpec => specOf<{ template: { spec: PodSpec } }>(deployment).template.spec;
const containerOf = (deployment: Manifest): Container => podOf(deployment).containers[0];
const deployments = ofKind('Deployment');

test('every kustomization names what is there, and all that is there', async () => {
  for (const path of ['base', 'components/worker-autoscaling', 'overlays/example']) {
    const [{ resources = [], components = [] }] = (await readYaml(join(folder, path, 'kustomization.yaml'))) as [
      Kustomization,
    ];
    for (const name of [...resources, ...components]) await access(join(folder, path, name));
    const here = (await readdir(join(folder, path))).filter((name) => name.endsWith('.yaml'));
    const own = resources.filter((name) => !name.startsWith('..'));
    assert.deepEqual([...own, 'kustomization.yaml'].toSorted(), here.toSorted());
  }
});

test('the manifests are what the API takes, field by field', async (t) => {
  if (!modelsInstalled()) return missing(t, 'kubernetes-models', 'npm ci');
  const all = [...manifests, ...scaledObject];
  assert.deepEqual(await schemaObjections(all), []);
  const mistyped = { ...deployments[0], spec: { ...(deployments[0]?.spec as object), replica: 2 } } as Manifest;
  const complaints = await typeObjections([...all, mistyped], root, await temporaryFolder(t));
  // The guard is tried at the same time: of one that is wrong on purpose it complains, and of no other.
  assert.match(complaints, /replica"?' does not exist/);
  assert.deepEqual(complaints.match(/error TS/g)?.length, 1, complaints);
});

test('the example overlay is rendered by kubectl into what the API takes', async (t) => {
  const rendered = await renderExample(t);
  if (rendered === null) return;
  for (const deployment of ofKind('Deployment', rendered)) {
    const { image, envFrom } = containerOf(deployment);
    assert.match(image, /^registry\.example\.com\/orderflow-ingest:\d/);
    const generated = envFrom.flatMap((one) => Object.values(one).map(({ name }) => name));
    for (const name of generated)
      assert.ok(
        rendered.some(({ metadata }) => metadata.name === name),
        name,
      );
  }
  const worker = ofKind('Deployment', rendered).find(({ metadata }) => metadata.name === 'worker');
  assert.ok(!Object.hasOwn(worker?.spec as object, 'replicas'), 'the number of workers is the autoscaler’s');
  if (!modelsInstalled()) return missing(t, 'kubernetes-models', 'npm ci');
  // kubectl breaks long base64 into lines; the API takes that, the schema's pattern does not.
  const others = rendered.filter(({ kind }) => kind !== 'Secret');
  assert.deepEqual(await schemaObjections(others), []);
  assert.equal(await typeObjections(rendered, root, await temporaryFolder(t)), '');
});

/** No package of Debian brings a kubectl that knows components: where there is none, the test is left out, on CI too. */
async function renderExample(t: TestContext): Promise<readonly Manifest[] | null> {
  const rendered = await renderOverlay(root, 'example', await temporaryFolder(t));
  if (rendered === null) t.skip('kubectl is missing, and no package of Debian brings one that knows components');
  return rendered;
}

test('each role runs, with the settings the product takes', async () => {
  assert.deepEqual(deployments.map(({ metadata }) => metadata.name).toSorted(), ['http', 'smtp', 'worker']);
  const secrets = parseEnv(await readFile(join(folder, 'overlays/example/secrets.env.example'), 'utf8'));
  const settings = base.configMapGenerator?.find(({ name }) => name === 'settings')?.literals ?? [];
  const env = { ...Object.fromEntries(settings.map((one) => one.split(/=(.*)/))), ...secrets };
  const loaded = loadSettings({ env, cwd: '/', readEnvFile: () => null });
  assert.ok('settings' in loaded, JSON.stringify(loaded));
  const { smtp, http, databaseUrl, objectStorage }: Settings = loaded.settings;
  assert.ok(databaseUrl !== null && objectStorage !== null);
  for (const deployment of deployments) {
    const { args, ports } = containerOf(deployment);
    assert.deepEqual(args.slice(0, 2), ['start', '--roles']);
    const roles = rolesArgument(args[2] ?? '');
    assert.ok(roles.some((role) => role === deployment.metadata.name) && roles.includes('http'));
    const open = Object.fromEntries(ports.map(({ name, containerPort }) => [name, containerPort]));
    assert.deepEqual(open, { ...(roles.includes('smtp') ? { smtp: smtp.port } : {}), http: http.port });
  }
});

test('no variable that Kubernetes sets by itself is taken for a setting', () => {
  for (const deployment of deployments) assert.equal(podOf(deployment).enableServiceLinks, false);
});

test('every pod is confined, checked, bounded and spread', () => {
  for (const deployment of deployments) {
    const pod = podOf(deployment);
    const container = containerOf(deployment);
    assert.equal(pod.automountServiceAccountToken, false);
    assert.deepEqual(pod.securityContext, {
      runAsNonRoot: true,
      runAsUser: 1000,
      runAsGroup: 1000,
      fsGroup: 1000,
      seccompProfile: { type: 'RuntimeDefault' },
    });
    assert.deepEqual(container.securityContext, {
      allowPrivilegeEscalation: false,
      readOnlyRootFilesystem: true,
      capabilities: { drop: ['ALL'] },
    });
    const probes = ['startupProbe', 'livenessProbe', 'readinessProbe'] as const;
    const asked = probes.map((probe) => container[probe]?.httpGet);
    assert.deepEqual(
      asked,
      ['/healthz', '/healthz', '/readyz'].map((path) => ({ path, port: 'http' })),
    );
    assert.ok(container.resources.limits.memory);
    assert.equal(pod.topologySpreadConstraints.length, 2);
    const mounted = container.volumeMounts.map(({ name }) => name);
    assert.deepEqual(
      mounted,
      pod.volumes.map(({ name }) => name),
    );
    assert.deepEqual(
      container.volumeMounts.map(({ mountPath }) => mountPath),
      ['/data', '/tmp'],
    );
    const leaves = container.lifecycle?.preStop.sleep.seconds ?? 0;
    assert.ok(pod.terminationGracePeriodSeconds >= leaves + 30, 'a stop takes up to 25 s');
  }
});

test('budgets, services and autoscalers are for pods that are there', () => {
  type Labels = Readonly<Record<string, string>>;
  const selectedBy = (selector: Labels) =>
    deployments.filter((one) => {
      const { labels } = specOf<{ template: { metadata: { labels: Labels } } }>(one).template.metadata;
      return Object.entries(selector).every(([name, value]) => labels[name] === value);
    });
  const budgets = ofKind('PodDisruptionBudget');
  for (const one of [...deployments, ...budgets]) {
    const { matchLabels } = specOf<{ selector: { matchLabels: Labels } }>(one).selector;
    const selected = selectedBy(matchLabels).map(({ metadata }) => metadata.name);
    assert.deepEqual(selected, [one.metadata.name], one.kind);
  }
  assert.equal(budgets.length, deployments.length);
  for (const one of ofKind('Service')) {
    const { selector, ports } = specOf<{ selector: Labels; ports: { targetPort: string }[] }>(one);
    const [target, ...others] = selectedBy(selector);
    assert.ok(target !== undefined && others.length === 0, one.metadata.name);
    const open = containerOf(target).ports.map(({ name }) => name);
    for (const { targetPort } of ports) assert.ok(open.includes(targetPort), targetPort);
  }
  const scaled = [...ofKind('HorizontalPodAutoscaler'), ...scaledObject];
  const targets = scaled.map((one) => specOf<{ scaleTargetRef: { name: string } }>(one).scaleTargetRef.name);
  assert.deepEqual(targets, ['smtp', 'worker']);
  const smtp = deployments.find(({ metadata }) => metadata.name === 'smtp');
  assert.ok(!Object.hasOwn(smtp?.spec as object, 'replicas'), 'the number of smtp pods is the autoscaler’s');
});

test('the address of the sender reaches the smtp pods, on port 25', () => {
  const service = ofKind('Service').find(({ metadata }) => metadata.name === 'smtp');
  const { type, externalTrafficPolicy, ports } = specOf<Record<string, unknown>>(service);
  assert.deepEqual([type, externalTrafficPolicy], ['LoadBalancer', 'Local']);
  assert.deepEqual(ports, [{ name: 'smtp', port: 25, targetPort: 'smtp' }]);
});
