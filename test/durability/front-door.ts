/** The product on fixed ports and one data folder, so that it can be killed, stopped and started again under load. */
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import pg from 'pg';
import { freePort } from '../../src/testing/free-port.ts';
import { type Product, startProduct } from '../../src/testing/product.ts';
import { temporaryFolder } from '../../src/testing/temporary-folder.ts';

export const SLUGS: readonly string[] = ['acme', 'globex'];

export interface FrontDoor {
  readonly port: number;
  readonly dataDir: string;
  readonly objectsDir: string;
  /** The one running now, or the last. */
  readonly product: Product;
  readonly databaseUrl: string;
  start(): Promise<void>;
}

export interface FrontDoorOptions {
  /** Default: the embedded one. */
  readonly databaseUrl?: string;
  /** Default: a new one. */
  readonly dataDir?: string;
  readonly args?: readonly string[];
  /** More settings. */
  readonly env?: Readonly<Record<string, string>>;
  /** How long until it is ready, each time. */
  readonly startTimeoutMs?: number;
}

/** Started, with both organisations there. */
export async function openFrontDoor(
  t: TestContext,
  { databaseUrl, dataDir, args, env: more = {}, startTimeoutMs }: FrontDoorOptions = {},
): Promise<FrontDoor> {
  const folder = dataDir ?? (await temporaryFolder(t));
  const [port, httpPort] = await Promise.all([freePort(), freePort()]);
  const env = {
    SMTP_PORT: String(port),
    HTTP_PORT: String(httpPort),
    LOG_LEVEL: 'info',
    ...more,
    ...(databaseUrl === undefined ? {} : { DATABASE_URL: databaseUrl }),
  };
  const start = () =>
    startProduct(t, { dataDir: folder, env, ...(args ? { args } : {}), ...(startTimeoutMs ? { startTimeoutMs } : {}) });
  let product = await start();
  await addOrganisations(product.databaseUrl);
  return {
    port,
    dataDir: folder,
    objectsDir: join(folder, 'objects'),
    get product() {
      return product;
    },
    get databaseUrl() {
      return product.databaseUrl;
    },
    async start() {
      product = await start();
    },
  };
}

async function addOrganisations(url: string): Promise<void> {
  await withClient(url, (client) =>
    client.query(
      'INSERT INTO org (slug, name) SELECT slug, slug FROM unnest($1::text[]) AS slug ON CONFLICT DO NOTHING',
      [SLUGS],
    ),
  );
}

export async function withClient<T>(url: string, work: (client: pg.Client) => Promise<T>): Promise<T> {
  const client = new pg.Client({ connectionString: url, application_name: 'test', connectionTimeoutMillis: 15_000 });
  client.on('error', () => {});
  await client.connect();
  try {
    return await work(client);
  } finally {
    await client.end();
  }
}
