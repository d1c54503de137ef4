/** A real S3 server (Ceph's gateway on loopback) for the tests of one file. */
import { execFile, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { appendFile, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { CreateBucketCommand, S3Client } from '@aws-sdk/client-s3';
import { bareEnvironment } from './environment.ts';
import { freePort } from './free-port.ts';
import { makeTemporaryFolder } from './temporary-folder.ts';
import { waitFor } from './wait-for.ts';

const SCRIPT = join(import.meta.dirname, '../../../shared/tools/s3-server.sh');
const PROGRAMS = ['ceph-mon', 'ceph-osd', 'radosgw', 'bash', 'python3'];
const SCRIPT_TIMEOUT_MS = 90_000;

/** As `Settings.objectStorage` has it. */
export interface S3TestSettings {
  readonly endpoint: string;
  readonly region: string;
  readonly bucket: string;
  readonly accessKey: string;
  readonly secretKey: string;
}

export interface S3TestKey {
  readonly accessKey: string;
  readonly secretKey: string;
}

export interface S3TestSession extends S3TestKey {
  readonly sessionToken: string;
  readonly expiration: string;
}

export interface S3TestServer {
  /** A bucket of its own each time. */
  newBucket(): Promise<S3TestSettings>;
  /** For questions the product does not ask. Shape: one client for all buckets; the caller destroys nothing. */
  readonly client: S3Client;
  /** Connections are refused until `resume`. */
  outage(): Promise<void>;
  resume(): Promise<void>;
  /** More keys for the same user; old ones stay good until they are removed. */
  newKey(): Promise<S3TestKey>;
  removeKey(accessKey: string): Promise<void>;
  /** Temporary keys of a role that may do all in all buckets, from the server's own STS; with `STS` only. */
  newSession(): Promise<S3TestSession>;
  /** SIGKILL to the gateway; what it had acknowledged is in the store behind it. Connections are refused until `resume`. */
  kill(): Promise<void>;
  /** SIGSTOP to the gateway: connections are taken, nobody answers. */
  freeze(): Promise<void>;
  thaw(): Promise<void>;
  /** Resolves when it is stopped and its data are gone. */
  close(): Promise<void>;
}

/** For `config`: the server hands out temporary keys and takes them. */
export const STS = ['rgw sts key = abcdefghijklmnop', 'rgw s3 auth use sts = true', 'rgw enable apis = s3, admin, sts'];

/** For `config`: the server encrypts with this key when asked to. */
export const KMS_KEY = 'mail-key';
export const KMS = [
  'rgw crypt require ssl = false',
  'rgw crypt s3 kms backend = testing',
  `rgw crypt s3 kms encryption keys = ${KMS_KEY}=${randomBytes(32).toString('base64')}`,
];

/** Why there can be none on this machine; null when there can. */
export function noS3Server(): string | null {
  if (!existsSync(SCRIPT)) return `${SCRIPT} is not there`;
  const path = [...(bareEnvironment().PATH ?? '').split(':'), '/usr/sbin', '/sbin'];
  const absent = PROGRAMS.filter((program) => !path.some((folder) => existsSync(join(folder, program))));
  return absent.length === 0 ? null : `no ${absent.join(', ')}: apt-get install ceph-mon ceph-osd radosgw`;
}

/**
 * Takes a second or two, with `config` three: lines for its ceph.conf, such as a KMS of its own.
 * Owns: when this process ends without `close`, the server ends too.
 */
export async function startS3Server({
  config = [],
}: {
  readonly config?: readonly string[];
} = {}): Promise<S3TestServer> {
  const folder = await makeTemporaryFolder();
  const keeper = keep(folder);
  try {
    const settings = await start(folder, await freePort());
    if (config.length > 0) {
      await appendFile(join(folder, 'ceph.conf'), `${config.join('\n')}\n`);
      await script('outage', folder);
      await start(folder);
    }
    const client = clientFor(settings);
    return {
      client,
      async newBucket() {
        const bucket = `test-${randomBytes(6).toString('hex')}`;
        await client.send(new CreateBucketCommand({ Bucket: bucket }));
        return { ...settings, bucket };
      },
      outage: async () => void (await script('outage', folder)),
      resume: async () => void (await start(folder)),
      async newKey() {
        const [accessKey, secretKey] = [randomBytes(10).toString('hex'), randomBytes(20).toString('hex')];
        const key = ['--access-key', accessKey, '--secret-key', secretKey];
        await admin(folder, 'key', 'create', '--uid=test', '--key-type=s3', ...key);
        return { accessKey, secretKey };
      },
      async removeKey(accessKey) {
        await admin(folder, 'key', 'rm', '--uid=test', '--key-type=s3', '--access-key', accessKey);
      },
      newSession: () => newSession(folder, settings),
      async kill() {
        const pid = await gatewayOf(folder);
        process.kill(pid, 'SIGKILL');
        await waitFor(() => !existsSync(`/proc/${pid}`), { what: 'the end of the gateway' });
      },
      freeze: async () => void process.kill(await gatewayOf(folder), 'SIGSTOP'),
      thaw: async () => void process.kill(await gatewayOf(folder), 'SIGCONT'),
      async close() {
        client.destroy();
        await keeper.close();
      },
    };
  } catch (error) {
    await keeper.close();
    throw error;
  }
}

/** As the product is told of it. */
export function s3Environment(settings: S3TestSettings): Record<string, string> {
  return {
    OBJECT_STORAGE_ENDPOINT: settings.endpoint,
    OBJECT_STORAGE_REGION: settings.region,
    OBJECT_STORAGE_BUCKET: settings.bucket,
    OBJECT_STORAGE_ACCESS_KEY: settings.accessKey,
    OBJECT_STORAGE_SECRET_KEY: settings.secretKey,
  };
}

async function start(folder: string, port?: number): Promise<S3TestSettings> {
  const told = await script('start', folder, ...(port === undefined ? [] : [String(port)]));
  const of = (name: string): string => new RegExp(`^export ${name}=(.+)$`, 'm').exec(told)?.[1] ?? '';
  return {
    endpoint: of('S3_ENDPOINT'),
    region: of('S3_REGION'),
    bucket: of('S3_BUCKET'),
    accessKey: of('S3_ACCESS_KEY_ID'),
    secretKey: of('S3_SECRET_ACCESS_KEY'),
  };
}

async function gatewayOf(folder: string): Promise<number> {
  return Number(await readFile(join(folder, 'run', 'client.rgw.pid'), 'utf8'));
}

async function script(...args: readonly string[]): Promise<string> {
  const env = { ...bareEnvironment(), S3_SERVER_STORE: 'memstore', S3_SERVER_SIZE_GB: '4' };
  const { stdout } = await promisify(execFile)('bash', [SCRIPT, ...args], { env, timeout: SCRIPT_TIMEOUT_MS });
  return stdout;
}

async function admin(folder: string, ...args: readonly string[]): Promise<void> {
  const env = { ...bareEnvironment(), PATH: `${bareEnvironment().PATH}:/usr/sbin` };
  const whole = ['-c', join(folder, 'ceph.conf'), '-n', 'client.rgw', ...args];
  await promisify(execFile)('radosgw-admin', whole, { env, timeout: SCRIPT_TIMEOUT_MS });
}

const EEXIST = 17;

async function newSession(folder: string, settings: S3TestSettings): Promise<S3TestSession> {
  const policy = (statement: object): string =>
    JSON.stringify({ Version: '2012-10-17', Statement: [{ Effect: 'Allow', ...statement }] });
  const trust = policy({ Principal: { AWS: ['arn:aws:iam:::user/test'] }, Action: ['sts:AssumeRole'] });
  const rights = policy({ Action: ['s3:*'], Resource: ['arn:aws:s3:::*'] });
  const create = ['role', 'create', '--role-name=mail', '--path=/', `--assume-role-policy-doc=${trust}`];
  await admin(folder, ...create).catch((error: { readonly code?: unknown }) => {
    if (error.code !== EEXIST) throw error;
  });
  await admin(folder, 'role', 'policy', 'put', '--role-name=mail', '--policy-name=all', `--policy-doc=${rights}`);
  const form = new URLSearchParams({ Action: 'AssumeRole', Version: '2011-06-15', RoleSessionName: 'ingest' });
  form.set('RoleArn', 'arn:aws:iam:::role/mail');
  const answer = await askSts(settings, String(form));
  const of = (name: string): string => new RegExp(`<${name}>([^<]+)`).exec(answer)?.[1] ?? '';
  return {
    accessKey: of('AccessKeyId'),
    secretKey: of('SecretAccessKey'),
    sessionToken: of('SessionToken'),
    expiration: of('Expiration'),
  };
}

/** Signed as the SDK signs, for another service. */
async function askSts(settings: S3TestSettings, body: string): Promise<string> {
  const client = clientFor(settings);
  const scheme = { name: 'sigv4', signingName: 'sts', signingRegion: settings.region, properties: {} };
  const signer = await client.config.signer(scheme);
  const { host, hostname, port } = new URL(settings.endpoint);
  const headers = { host, 'content-type': 'application/x-www-form-urlencoded' };
  const request = {
    method: 'POST',
    protocol: 'http:',
    hostname,
    port: Number(port),
    path: '/',
    query: {},
    headers,
    body,
  };
  const signed = await signer.sign(request);
  client.destroy();
  const answer = await fetch(settings.endpoint, { method: 'POST', headers: signed.headers, body });
  const text = await answer.text();
  if (!answer.ok) throw new Error(`the STS of the server answers ${answer.status}: ${text}`);
  return text;
}

/** A shell that waits for the end of its input, which comes with our end, however we end. */
function keep(folder: string): { close(): Promise<void> } {
  const destroy = 'cat; bash "$0" destroy "$1"; rm -rf "$1"';
  const child = spawn('sh', ['-c', destroy, SCRIPT, folder], { detached: true, stdio: ['pipe', 'ignore', 'ignore'] });
  const ended = new Promise<void>((resolve) => child.once('close', () => resolve()));
  child.unref();
  (child.stdin as unknown as { unref(): void }).unref();
  return {
    async close() {
      child.ref();
      child.stdin.end();
      await ended;
    },
  };
}

function clientFor({ endpoint, region, accessKey, secretKey }: S3TestSettings): S3Client {
  return new S3Client({
    endpoint,
    region,
    credentials: { accessKeyId: accessKey, secretAccessKey: secretKey },
    forcePathStyle: true,
    requestChecksumCalculation: 'WHEN_REQUIRED',
    responseChecksumValidation: 'WHEN_REQUIRED',
  });
}
