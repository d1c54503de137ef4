/** Kubernetes manifests: rendered by kubectl where it is, and held to the types and schemas of its API. */
import { spawnSync } from 'node:child_process';
import { cp, mkdir, symlink, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { parseYaml } from './packages.ts';

export interface Manifest {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly labels?: Readonly<Record<string, string>> };
  readonly spec?: unknown;
}

export interface Container {
  readonly image: string;
  readonly args: readonly string[];
  readonly env?: readonly { readonly name: string; readonly value: string }[];
  readonly envFrom: readonly Readonly<Record<string, { readonly name: string }>>[];
  readonly ports: readonly { readonly name: string; readonly containerPort: number }[];
  readonly volumeMounts: readonly { readonly name: string; readonly mountPath: string }[];
  readonly resources: { readonly requests: object; readonly limits: { readonly memory?: string } };
  readonly securityContext: object;
  readonly lifecycle?: { readonly preStop: { readonly sleep: { readonly seconds: number } } };
  readonly [probe: `${string}Probe`]: { readonly httpGet: { readonly path: string; readonly port: string } };
}

export interface PodSpec {
  readonly enableServiceLinks: boolean;
  readonly automountServiceAccountToken: boolean;
  readonly securityContext: object;
  readonly terminationGracePeriodSeconds: number;
  readonly topologySpreadConstraints: readonly object[];
  readonly containers: readonly [Container];
  readonly volumes: readonly { readonly name: string }[];
}

/** `kubectl kustomize` of an overlay, with the secrets of its example. Shape: null when there is no kubectl. */
export async function renderOverlay(
  root: string,
  overlay: string,
  folder: string,
): Promise<readonly Manifest[] | null> {
  const copy = join(folder, 'kubernetes');
  await cp(join(root, 'deploy/kubernetes'), copy, { recursive: true });
  const secrets = join(copy, 'overlays', overlay, 'secrets.env');
  await cp(`${secrets}.example`, secrets);
  const words = ['kustomize', join(copy, 'overlays', overlay)];
  const { error, status, stdout, stderr } = spawnSync('kubectl', words, { encoding: 'utf8', timeout: 60_000 });
  if (error !== undefined) return null;
  if (status !== 0) throw new Error(stderr);
  return parseYaml(stdout) as Manifest[];
}

interface Model {
  validate(): void;
}

/** Shape: what the schemas have against a manifest, a line each. */
export async function schemaObjections(manifests: readonly Manifest[]): Promise<readonly string[]> {
  const objections = await Promise.all(
    manifests.map(async (manifest) => {
      const models = (await import(moduleOf(manifest))) as Record<string, new (data: Manifest) => Model>;
      const Model = models[manifest.kind];
      if (Model === undefined) return [`${manifest.apiVersion} has no ${manifest.kind}`];
      try {
        new Model(manifest).validate();
        return [];
      } catch (error) {
        return [`${manifest.kind} ${manifest.metadata.name}: ${(error as Error).message}`];
      }
    }),
  );
  return objections.flat();
}

/** The schemas let unknown fields pass; a compiler does not. Shape: its complaints, empty when there is none. */
export async function typeObjections(manifests: readonly Manifest[], root: string, folder: string): Promise<string> {
  const lines = manifests.map((manifest, index) => {
    const type = `import('${moduleOf(manifest)}').I${manifest.kind}`;
    return `export const m${index}: ${type} = ${JSON.stringify(manifest, null, 1)};`;
  });
  const here = join(folder, 'types');
  await mkdir(here);
  await symlink(join(root, 'node_modules'), join(here, 'node_modules'));
  await writeFile(join(here, 'manifests.ts'), lines.join('\n'));
  await writeFile(join(here, 'package.json'), '{"type":"module"}');
  const compilerOptions = { module: 'nodenext', noEmit: true, strict: true, skipLibCheck: true, types: [] };
  await writeFile(join(here, 'tsconfig.json'), JSON.stringify({ compilerOptions, files: ['manifests.ts'] }));
  const tsc = join(root, 'node_modules/typescript/bin/tsc');
  return spawnSync(process.execPath, [tsc, '-p', here], { encoding: 'utf8', timeout: 120_000 }).stdout;
}

function moduleOf({ apiVersion }: Manifest): string {
  return `${apiVersion.startsWith('keda.sh/') ? '@kubernetes-models/keda' : 'kubernetes-models'}/${apiVersion}`;
}

export function modelsInstalled(): boolean {
  const { resolve } = createRequire(import.meta.url);
  try {
    resolve('kubernetes-models/package.json');
    resolve('@kubernetes-models/keda/package.json');
    return true;
  } catch {
    return false;
  }
}
