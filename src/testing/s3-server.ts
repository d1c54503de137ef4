/** A real S3 server (Ceph's gateway on loopback) for the tests of one file. */
import { execFile, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
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

export interface S3TestServer {
  /** A bucket of its own each time. */
  newBucket(): Promise<S3TestSettings>;
  /** For questions the product does not ask. Shape: one client for all buckets; the caller destroys nothing. */
  readonly client: S3Client;
  /** Connections are refused until `resume`. */
  outage(): Promise<void>;
  resume(): Promise<void>;
  /** SIGKILL to the gateway; what it had acknowledged is in the store behind it. Connections are refused until `resume`. */
  kill(): Promise<void>;
  /** SIGSTOP to the gateway: connections are taken, nobody answers. */
  freeze(): Promise<void>;
  thaw(): Promise<void>;
  /** Resolves when it is stopped and its data are gone. */
  close(): Promise<void>;
}

/** Why there can be none on this machine; null when there can. */
export function noS3Server(): string | null {
  if (!existsSync(SCRIPT)) return `${SCRIPT} is not there`;
  const path = [...(bareEnvironment().PATH ?? '').split(':'), '/usr/sbin', '/sbin'];
  const absent = PROGRAMS.filter((program) => !path.some((folder) => existsSync(join(folder, program))));
  return absent.length === 0 ? null : `no ${absent.join(', ')}: apt-get install ceph-mon ceph-osd radosgw`;
}

/** Takes a second or two. Owns: when this process ends without `close`, the server ends too. */
export async function startS3Server(): Promise<S3TestServer> {
  const folder = await makeTemporaryFolder();
  const keeper = keep(folder);
  try {
    const settings = await start(folder, await freePort());
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
