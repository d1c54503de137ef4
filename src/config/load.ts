/** Reads and validates the settings, once, at start. */
import { resolve } from 'node:path';
import { hasPassword, wholeDatabaseUrl } from './database-url.ts';
import { type Definition, definitions, type SettingName, settingNames, type Values } from './definition.ts';
import type { ReadEnvFile } from './environment.ts';
import { type Environment, type MergedEnvironment, mergeEnvironment, readEnvFileFromDisk } from './environment.ts';
import { readSecretFiles } from './secrets.ts';
import type { Settings } from './settings.ts';
import { unknownNameProblems } from './unknown-names.ts';

export interface LoadOptions {
  readonly env: Environment;
  readonly cwd: string;
  readonly readEnvFile?: ReadEnvFile;
  /** Where log lines will go is a terminal: the default of LOG_FORMAT is then `pretty`. */
  readonly terminal?: boolean;
}

/** Shape: either the settings, or one line per problem, each naming the setting and what would be right. */
export type Loaded = { readonly settings: Settings } | { readonly problems: readonly string[] };

export function loadSettings(options: LoadOptions): Loaded {
  const merged = mergeEnvironment({ readEnvFile: readEnvFileFromDisk, ...options });
  const secrets = readSecretFiles(merged, options.cwd);
  const { environment, files } = secrets;
  const problems = [...merged.problems, ...secrets.problems];
  const values = parseAll(environment, files, problems);
  const databaseUrl =
    values.DATABASE_URL === undefined ? null : wholeDatabaseUrl(values.DATABASE_URL, environment, problems);
  problems.push(...halfGivenProblems(environment, files), ...unknownNameProblems(environment));
  if (problems.length > 0) return { problems };
  const databaseSecret = databaseUrl === null ? null : databaseSecretOf(values.DATABASE_URL ?? '', files);
  return { settings: { ...toSettings(values, options, files), databaseUrl, databaseSecret } };
}

type SecretFiles = ReadonlyMap<string, string>;

/** Which file the password is in, if any: a URL that has one is not filled from PGPASSWORD. */
function databaseSecretOf(url: string, files: SecretFiles): Settings['databaseSecret'] {
  const password = files.get('PGPASSWORD');
  if (password !== undefined && !hasPassword(url)) return { file: password, holds: 'password' };
  const whole = files.get('DATABASE_URL');
  return whole === undefined ? null : { file: whole, holds: 'url' };
}

/** `memory-places.ts` of the SMTP library: 186 large mails on their way at the same time. More of them wait. */
const MAX_HELD_BYTES = 128 * 1024 * 1024;

function parseAll(environment: MergedEnvironment, files: SecretFiles, problems: string[]): Values {
  const values: Record<string, unknown> = {};
  for (const name of settingNames) {
    const definition: Definition<unknown> = definitions[name];
    const text = environment.values.get(name) ?? definition.fallback;
    if (text === null) continue;
    const outcome = definition.form.safeParse(text);
    if (outcome.success) values[name] = outcome.data;
    else problems.push(`${given(name, environment, files)}: ${outcome.error.issues[0]?.message ?? 'is wrong'}`);
  }
  return values as Values;
}

/** Name, origin and value of a setting as a message may show them. */
function given(name: SettingName, environment: MergedEnvironment, files: SecretFiles): string {
  const definition: Definition<unknown> = definitions[name];
  const named = `${name}${files.has(name) ? ` (from ${name}_FILE)` : origin(name, environment)}`;
  return definition.secret ? `${named} (value not shown)` : `${named} is ${shown(environment.values.get(name) ?? '')}`;
}

const origin = (name: SettingName, { fromFile }: MergedEnvironment): string =>
  fromFile.has(name) ? ' (from .env)' : '';

/** Quoted, on one line, at most 80 characters, without credentials that someone put into a URL. */
function shown(text: string): string {
  const redacted = text.replace(/\/\/[^/@]*@/g, '//***@');
  return JSON.stringify(redacted.length > 80 ? `${redacted.slice(0, 80)}…` : redacted);
}

/** Names that make sense only together: with any of `given` set, all of `needed` must be. */
const groups: readonly { readonly given: readonly SettingName[]; readonly needed: readonly SettingName[] }[] = [
  {
    given: ['SMTP_TLS_CERT_FILE', 'SMTP_TLS_KEY_FILE'],
    needed: ['SMTP_TLS_CERT_FILE', 'SMTP_TLS_KEY_FILE'],
  },
  {
    given: [
      'OBJECT_STORAGE_ENDPOINT',
      'OBJECT_STORAGE_REGION',
      'OBJECT_STORAGE_BUCKET',
      'OBJECT_STORAGE_ACCESS_KEY',
      'OBJECT_STORAGE_SECRET_KEY',
      'OBJECT_STORAGE_SESSION_TOKEN',
      'OBJECT_STORAGE_PREFIX',
      'OBJECT_STORAGE_KMS_KEY_ID',
      'OBJECT_STORAGE_CA_FILE',
    ],
    needed: ['OBJECT_STORAGE_ENDPOINT', 'OBJECT_STORAGE_BUCKET'],
  },
  {
    // Without any of them, the SDK looks for credentials where it runs.
    given: ['OBJECT_STORAGE_ACCESS_KEY', 'OBJECT_STORAGE_SECRET_KEY', 'OBJECT_STORAGE_SESSION_TOKEN'],
    needed: ['OBJECT_STORAGE_ACCESS_KEY', 'OBJECT_STORAGE_SECRET_KEY'],
  },
];

function halfGivenProblems({ values }: MergedEnvironment, files: SecretFiles): string[] {
  // Of a file that cannot be read, its own problem tells.
  const isSet = (name: SettingName): boolean => values.has(name) || files.has(name);
  const problems = groups.flatMap((group) => {
    const present = group.given.filter(isSet);
    if (present.length === 0) return [];
    return group.needed
      .filter((name) => !isSet(name))
      .map(
        (name) =>
          `${name} is not set, but ${present.join(', ')} ${present.length === 1 ? 'is' : 'are'}: ` +
          `set ${group.needed.join(', ')} together, or none of them`,
      );
  });
  const requireTls = values.get('SMTP_REQUIRE_TLS')?.toLowerCase() === 'true';
  if (requireTls && !values.has('SMTP_TLS_CERT_FILE') && !values.has('SMTP_TLS_KEY_FILE')) {
    problems.push('SMTP_REQUIRE_TLS is "true": needs SMTP_TLS_CERT_FILE and SMTP_TLS_KEY_FILE');
  }
  return problems;
}

function toSettings(
  values: Values,
  options: LoadOptions,
  files: SecretFiles,
): Omit<Settings, 'databaseUrl' | 'databaseSecret'> {
  const required = <N extends SettingName>(name: N): NonNullable<Values[N]> => {
    const value = values[name];
    if (value === undefined) throw new Error(`setting ${name} has neither value nor default`);
    return value as NonNullable<Values[N]>;
  };
  const absolute = (path: string): string => resolve(options.cwd, path);
  const { SMTP_TLS_CERT_FILE: certFile, SMTP_TLS_KEY_FILE: keyFile } = values;
  return {
    smtp: {
      host: required('SMTP_HOST'),
      port: required('SMTP_PORT'),
      domains: required('SMTP_DOMAIN'),
      postmasterOrg: values.SMTP_POSTMASTER_ORG ?? null,
      maxMessageBytes: required('SMTP_MAX_MESSAGE_SIZE'),
      requireTls: required('SMTP_REQUIRE_TLS'),
      tls:
        certFile === undefined || keyFile === undefined
          ? null
          : {
              certFile: absolute(certFile),
              keyFile: absolute(keyFile),
              minVersion: required('SMTP_TLS_MIN_VERSION'),
            },
      maxConnections: required('SMTP_MAX_CONNECTIONS'),
      maxConnectionsPerAddress: required('SMTP_MAX_CONNECTIONS_PER_ADDRESS'),
      maxHeldBytes: MAX_HELD_BYTES,
      maxRecipients: required('SMTP_MAX_RECIPIENTS'),
      proxyProtocolFrom: values.SMTP_PROXY_PROTOCOL_FROM ?? [],
    },
    http: { host: required('HTTP_HOST'), port: required('HTTP_PORT') },
    objectStorage:
      values.OBJECT_STORAGE_ENDPOINT === undefined
        ? null
        : {
            endpoint: values.OBJECT_STORAGE_ENDPOINT,
            region: values.OBJECT_STORAGE_REGION ?? 'us-east-1',
            bucket: required('OBJECT_STORAGE_BUCKET'),
            prefix: values.OBJECT_STORAGE_PREFIX ?? '',
            accessKey: values.OBJECT_STORAGE_ACCESS_KEY ?? null,
            secretKey: values.OBJECT_STORAGE_SECRET_KEY ?? null,
            sessionToken: values.OBJECT_STORAGE_SESSION_TOKEN ?? null,
            secretFiles: {
              accessKey: files.get('OBJECT_STORAGE_ACCESS_KEY') ?? null,
              secretKey: files.get('OBJECT_STORAGE_SECRET_KEY') ?? null,
              sessionToken: files.get('OBJECT_STORAGE_SESSION_TOKEN') ?? null,
            },
            kmsKeyId: values.OBJECT_STORAGE_KMS_KEY_ID ?? null,
            caFile: values.OBJECT_STORAGE_CA_FILE === undefined ? null : absolute(values.OBJECT_STORAGE_CA_FILE),
          },
    objectFiles: { readableBy: required('OBJECT_FILES_READABLE_BY') },
    redisUrl: values.REDIS_URL ?? null,
    redisUrlFile: values.REDIS_URL === undefined ? null : (files.get('REDIS_URL') ?? null),
    worker: { concurrency: required('WORKER_CONCURRENCY') },
    dataDir: absolute(required('DATA_DIR')),
    tracing: tracingOf(values, files),
    log: { level: required('LOG_LEVEL'), format: values.LOG_FORMAT ?? (options.terminal ? 'pretty' : 'json') },
  };
}

function tracingOf(values: Values, files: SecretFiles): Settings['tracing'] {
  const { OTEL_EXPORTER_OTLP_ENDPOINT: endpoint, OTEL_RESOURCE_ATTRIBUTES: resourceAttributes = {} } = values;
  if (endpoint === undefined) return null;
  return {
    url: `${endpoint.replace(/\/$/, '')}/v1/traces`,
    headers: values.OTEL_EXPORTER_OTLP_HEADERS ?? {},
    headersFile: files.get('OTEL_EXPORTER_OTLP_HEADERS') ?? null,
    serviceName: values.OTEL_SERVICE_NAME ?? resourceAttributes['service.name'] ?? 'orderflow-ingest',
    resourceAttributes,
    sampler: {
      name: values.OTEL_TRACES_SAMPLER ?? 'parentbased_always_on',
      ratio: values.OTEL_TRACES_SAMPLER_ARG ?? 1,
    },
  };
}
