/**
 * Every setting, once: validation, `.env.example` and the README's table all come from here.
 * The order is the order in the documents.
 */
import * as forms from './forms.ts';

export interface Definition<T> {
  readonly form: forms.Form<T>;
  /** Text as it would stand in the environment; null when there is no default. */
  readonly fallback: string | null;
  /** Shown in the documents where `fallback` does not say it. */
  readonly fallbackShown?: string;
  readonly meaning: string;
  /** Shown in `.env.example` when there is no default. */
  readonly example?: string;
  /** Its value appears in no message. */
  readonly secret?: true;
}

const setting = <T>(definition: Definition<T>): Definition<T> => definition;

const filesUnderDataDir = 'files under `DATA_DIR`';

export const definitions = {
  SMTP_HOST: setting({
    form: forms.bindAddress,
    fallback: '127.0.0.1',
    meaning: 'Address the SMTP server listens on; `0.0.0.0` to be reached from other machines',
  }),
  SMTP_PORT: setting({
    form: forms.port('2525'),
    fallback: '2525',
    meaning: 'Port the SMTP server listens on; other mail servers deliver to `25`',
  }),
  SMTP_DOMAIN: setting({
    form: forms.domains,
    fallback: 'orderflow.example.com',
    meaning: 'Domains that are ours, separated by commas; mail to any other is refused',
  }),
  SMTP_POSTMASTER_ORG: setting({
    form: forms.slug,
    fallback: null,
    meaning: 'Organisation that mail to `postmaster` at our domains is recorded for; without it such mail is refused',
    example: 'acme',
  }),
  SMTP_MAX_MESSAGE_SIZE: setting({
    // Below 1 KiB not even the header of an ordinary mail fits; sizes stay below 2^31 in the tables.
    form: forms.wholeNumber({ min: 1024, max: 2_147_483_647, unit: 'bytes', example: '26214400' }),
    fallback: '26214400',
    meaning: 'Largest mail taken, in bytes',
  }),
  SMTP_REQUIRE_TLS: setting({
    form: forms.trueOrFalse,
    fallback: 'false',
    meaning: 'Refuse mail before STARTTLS',
  }),
  SMTP_TLS_CERT_FILE: setting({
    form: forms.path,
    fallback: null,
    meaning: 'PEM file with the certificate chain; with `SMTP_TLS_KEY_FILE` it enables STARTTLS',
    example: '/etc/orderflow/tls.crt',
  }),
  SMTP_TLS_KEY_FILE: setting({
    form: forms.path,
    fallback: null,
    meaning: 'PEM file with the private key of `SMTP_TLS_CERT_FILE`',
    example: '/etc/orderflow/tls.key',
  }),
  SMTP_TLS_MIN_VERSION: setting({
    form: forms.oneOf(['TLSv1', 'TLSv1.1', 'TLSv1.2', 'TLSv1.3']),
    fallback: 'TLSv1.2',
    meaning: 'Oldest TLS version taken; `TLSv1` and `TLSv1.1` let old devices in, and weaken the others',
  }),
  SMTP_MAX_CONNECTIONS: setting({
    form: forms.wholeNumber({ min: 1, max: 100_000, example: '1000' }),
    fallback: '1000',
    meaning: 'SMTP connections open at the same time; more are told to come back later',
  }),
  SMTP_MAX_CONNECTIONS_PER_ADDRESS: setting({
    form: forms.wholeNumber({ min: 1, max: 100_000, example: '50' }),
    fallback: '50',
    meaning:
      'SMTP connections of one client (IPv6: of one /64), also behind PROXY; binds once half of `SMTP_MAX_CONNECTIONS` is taken',
  }),
  SMTP_MAX_RECIPIENTS: setting({
    form: forms.wholeNumber({ min: 1, max: 10_000, example: '100' }),
    fallback: '100',
    meaning: 'Recipients of one mail; senders expect at least 100 (RFC 5321 §4.5.3.1.8)',
  }),
  SMTP_PROXY_PROTOCOL_FROM: setting({
    form: forms.networks,
    fallback: null,
    meaning: 'Addresses or networks of balancers, separated by commas: they must send a PROXY header, nobody else may',
    example: '10.0.0.5,192.168.0.0/16',
  }),
  HTTP_HOST: setting({
    form: forms.bindAddress,
    fallback: '127.0.0.1',
    meaning: 'Address the HTTP server (`/healthz`, `/readyz`, `/metrics`) listens on',
  }),
  HTTP_PORT: setting({
    form: forms.port('8025'),
    fallback: '8025',
    meaning: 'Port the HTTP server listens on',
  }),
  DATABASE_URL: setting({
    form: forms.postgresUrl,
    fallback: null,
    fallbackShown: 'embedded PostgreSQL under `DATA_DIR`',
    meaning: 'PostgreSQL 15 or newer to use instead of the embedded one',
    example: 'postgresql://orderflow:password@db.example.com:5432/orderflow',
    secret: true,
  }),
  OBJECT_STORAGE_ENDPOINT: setting({
    form: forms.httpUrl,
    fallback: null,
    fallbackShown: filesUnderDataDir,
    meaning: 'S3-compatible store for raw mails and attachments; its origin only, for Amazon that of the region',
    example: 'https://s3.eu-central-1.amazonaws.com',
  }),
  OBJECT_STORAGE_REGION: setting({
    form: forms.regionName,
    fallback: null,
    fallbackShown: '`us-east-1`',
    meaning: 'Region of the store',
    example: 'eu-central-1',
  }),
  OBJECT_STORAGE_BUCKET: setting({
    form: forms.bucketName,
    fallback: null,
    meaning: 'Bucket in the store; it must exist',
    example: 'orderflow-mail',
  }),
  OBJECT_STORAGE_PREFIX: setting({
    form: forms.keyPrefix,
    fallback: null,
    meaning: 'Begins every key in the bucket, so that several installations share one; rows keep keys without it',
    example: 'orderflow/production',
  }),
  OBJECT_STORAGE_ACCESS_KEY: setting({
    form: forms.credential,
    fallback: null,
    fallbackShown: 'what the SDK finds: `AWS_*`, web identity, container, instance role',
    meaning: 'Access key of the store; with `OBJECT_STORAGE_SECRET_KEY`, or neither',
    example: 'AKIAEXAMPLE',
    secret: true,
  }),
  OBJECT_STORAGE_SECRET_KEY: setting({
    form: forms.credential,
    fallback: null,
    meaning: 'Secret key of the store',
    example: 'change-me',
    secret: true,
  }),
  OBJECT_STORAGE_SESSION_TOKEN: setting({
    form: forms.credential,
    fallback: null,
    meaning: 'Session token, where the two keys are temporary ones',
    example: 'change-me',
    secret: true,
  }),
  OBJECT_STORAGE_KMS_KEY_ID: setting({
    form: forms.credential,
    fallback: null,
    fallbackShown: 'as the bucket encrypts by itself',
    meaning: 'Key of the store’s KMS that every object is encrypted with (SSE-KMS)',
    example: 'arn:aws:kms:eu-central-1:123456789012:key/1234abcd',
  }),
  OBJECT_STORAGE_CA_FILE: setting({
    form: forms.path,
    fallback: null,
    fallbackShown: 'the authorities that Node knows',
    meaning: 'PEM file with the authority of the store’s certificate; no other is trusted then',
    example: '/etc/orderflow/store-ca.crt',
  }),
  REDIS_URL: setting({
    form: forms.redisUrl,
    fallback: null,
    meaning: 'Publish `extract_document` jobs to BullMQ on this Redis; `rediss://` for TLS',
    example: 'redis://redis.example.com:6379',
    secret: true,
  }),
  WORKER_CONCURRENCY: setting({
    form: forms.wholeNumber({ min: 1, max: 64, example: '4' }),
    fallback: '4',
    meaning: 'Mails that one worker reads at the same time; each may hold a database connection',
  }),
  DATA_DIR: setting({
    form: forms.path,
    fallback: './data',
    meaning: 'Embedded database in `postgres/`, object files in `objects/`',
  }),
  OBJECT_FILES_READABLE_BY: setting({
    form: forms.oneOf(['owner', 'group']),
    fallback: 'owner',
    meaning:
      'Who may read object files: `group` lets a consumer on the same machine, in the group of the files, read them',
  }),
  LOG_LEVEL: setting({
    form: forms.oneOf(['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent']),
    fallback: 'info',
    meaning: 'Least severe log line that is written',
  }),
  LOG_FORMAT: setting({
    form: forms.oneOf(['json', 'pretty']),
    fallback: null,
    fallbackShown: '`json`; `pretty` on a terminal',
    meaning: 'One JSON object a line, or coloured text for people',
    example: 'json',
  }),
  OTEL_EXPORTER_OTLP_ENDPOINT: setting({
    form: forms.otlpEndpoint,
    fallback: null,
    fallbackShown: 'no tracing',
    meaning: 'Collector that OpenTelemetry spans are sent to, OTLP over HTTP; `/v1/traces` is added',
    example: 'http://collector.example.com:4318',
  }),
  OTEL_EXPORTER_OTLP_HEADERS: setting({
    form: forms.keyValueList,
    fallback: null,
    meaning: 'Headers for the collector, `name=value` separated by commas',
    example: 'authorization=Bearer%20token',
    secret: true,
  }),
  OTEL_SERVICE_NAME: setting({
    form: forms.freeText,
    fallback: null,
    fallbackShown: '`orderflow-ingest`',
    meaning: 'Name of this service in the traces',
    example: 'orderflow-ingest',
  }),
  OTEL_RESOURCE_ATTRIBUTES: setting({
    form: forms.keyValueList,
    fallback: null,
    meaning: 'What else the traces say of this service, `name=value` separated by commas',
    example: 'deployment.environment.name=production',
  }),
  OTEL_TRACES_SAMPLER: setting({
    form: forms.oneOf([
      'always_on',
      'always_off',
      'traceidratio',
      'parentbased_always_on',
      'parentbased_always_off',
      'parentbased_traceidratio',
    ]),
    fallback: 'parentbased_always_on',
    meaning: 'Which traces are sent: all, none, or a share of them (`parentbased_traceidratio`)',
  }),
  OTEL_TRACES_SAMPLER_ARG: setting({
    form: forms.share,
    fallback: '1',
    meaning: 'That share, from 0 to 1',
  }),
} as const;

export type SettingName = keyof typeof definitions;

export const settingNames = Object.keys(definitions) as readonly SettingName[];

type ValueOf<D> = D extends Definition<infer T> ? T : never;

/** Every setting's value by name; undefined when it is neither set nor has a default. */
export type Values = { readonly [N in SettingName]?: ValueOf<(typeof definitions)[N]> };
