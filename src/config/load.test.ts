import assert from 'node:assert/strict';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { temporaryFolder } from '../testing/temporary-folder.ts';
import type { Environment } from './environment.ts';
import { loadSettings } from './load.ts';
import type { Settings } from './settings.ts';

function load(env: Environment, file: string | null = null) {
  return loadSettings({ env, cwd: '/srv/orderflow', readEnvFile: () => file, terminal: false });
}

function settings(env: Environment, file: string | null = null): Settings {
  const loaded = load(env, file);
  assert.ok('settings' in loaded, 'problems' in loaded ? loaded.problems.join('\n') : '');
  return loaded.settings;
}

function problems(env: Environment, file: string | null = null): readonly string[] {
  const loaded = load(env, file);
  return 'problems' in loaded ? loaded.problems : [];
}

test('without any setting the defaults hold, with absolute paths', () => {
  assert.deepEqual(settings({}), {
    smtp: {
      host: '127.0.0.1',
      port: 2525,
      domains: ['orderflow.example.com'],
      postmasterOrg: null,
      maxMessageBytes: 26_214_400,
      requireTls: false,
      tls: null,
      maxConnections: 1000,
      maxConnectionsPerAddress: 50,
      maxHeldBytes: 134_217_728,
      maxRecipients: 100,
      proxyProtocolFrom: [],
    },
    http: { host: '127.0.0.1', port: 8025 },
    databaseUrl: null,
    databaseSecret: null,
    objectFiles: { readableBy: 'owner' },
    objectStorage: null,
    redisUrl: null,
    redisUrlFile: null,
    worker: { concurrency: 4 },
    dataDir: '/srv/orderflow/data',
    tracing: null,
    log: { level: 'info', format: 'json' },
  });
});

test('log lines are pretty on a terminal unless LOG_FORMAT says otherwise', () => {
  const onTerminal = (env: Environment) => loadSettings({ env, cwd: '/', readEnvFile: () => null, terminal: true });
  assert.equal((onTerminal({}) as { settings: Settings }).settings.log.format, 'pretty');
  assert.equal((onTerminal({ LOG_FORMAT: 'json' }) as { settings: Settings }).settings.log.format, 'json');
});

test('tracing is off without an endpoint, and other software of OpenTelemetry may have settings of its own', () => {
  const others = { OTEL_SERVICE_NAME: 'orders', OTEL_METRICS_EXPORTER: 'none', OTEL_LOG_LEVEL: 'debug' };
  assert.equal(settings(others).tracing, null);
  assert.deepEqual(settings({ OTEL_EXPORTER_OTLP_ENDPOINT: 'http://collector:4318' }).tracing, {
    url: 'http://collector:4318/v1/traces',
    headers: {},
    headersFile: null,
    serviceName: 'orderflow-ingest',
    resourceAttributes: {},
    sampler: { name: 'parentbased_always_on', ratio: 1 },
  });
});

test('the settings of tracing are read as OpenTelemetry writes them', () => {
  const { tracing } = settings({
    OTEL_EXPORTER_OTLP_ENDPOINT: 'https://otlp.example.com/tenant/',
    OTEL_EXPORTER_OTLP_HEADERS: 'authorization=Bearer%20a%3Db, x-tenant = orders',
    OTEL_RESOURCE_ATTRIBUTES: 'service.name=one,deployment.environment.name=production,',
    OTEL_TRACES_SAMPLER: 'parentbased_traceidratio',
    OTEL_TRACES_SAMPLER_ARG: '0.25',
  });
  assert.deepEqual(tracing, {
    url: 'https://otlp.example.com/tenant/v1/traces',
    headers: { authorization: 'Bearer a=b', 'x-tenant': 'orders' },
    headersFile: null,
    serviceName: 'one',
    resourceAttributes: { 'service.name': 'one', 'deployment.environment.name': 'production' },
    sampler: { name: 'parentbased_traceidratio', ratio: 0.25 },
  });
  for (const [name, wrong] of [
    ['OTEL_EXPORTER_OTLP_ENDPOINT', 'collector:4318'],
    ['OTEL_EXPORTER_OTLP_ENDPOINT', 'http://user:secret@collector:4318'],
    ['OTEL_EXPORTER_OTLP_HEADERS', 'secret'],
    ['OTEL_EXPORTER_OTLP_HEADERS', 'a=secret=b'],
    ['OTEL_RESOURCE_ATTRIBUTES', 'a=%'],
    ['OTEL_TRACES_SAMPLER', 'sometimes'],
    ['OTEL_TRACES_SAMPLER_ARG', '1.5'],
    ['OTEL_TRACES_SAMPLER_ARG', 'half'],
  ] as const) {
    const [problem = '', ...more] = problems({ [name]: wrong });
    assert.match(problem, new RegExp(`^${name}.*must be`), wrong);
    assert.doesNotMatch(problem, /secret/);
    assert.deepEqual(more, []);
  }
});

test('what is given is taken: trimmed, lower-cased where case does not matter', () => {
  const given = settings({
    SMTP_HOST: '::',
    SMTP_PORT: ' 25\n',
    SMTP_DOMAIN: 'Orders.Example.com, example.net,example.net,BÜCHER.example, xn--bcher-kva.Example',
    SMTP_POSTMASTER_ORG: 'Desk-1',
    SMTP_REQUIRE_TLS: 'FALSE',
    SMTP_TLS_CERT_FILE: 'tls.crt',
    SMTP_TLS_KEY_FILE: '/etc/tls.key',
    SMTP_TLS_MIN_VERSION: 'tlsv1.1',
    DATABASE_URL: 'postgresql://u:p%40ss@db.example.com/orderflow',
    DATA_DIR: '/var/lib/orderflow',
    LOG_LEVEL: 'WARN',
  });
  assert.equal(given.smtp.host, '::');
  assert.equal(given.smtp.port, 25);
  assert.deepEqual(given.smtp.domains, ['orders.example.com', 'example.net', 'xn--bcher-kva.example']);
  assert.equal(given.smtp.postmasterOrg, 'desk-1');
  assert.deepEqual(given.smtp.tls, {
    certFile: '/srv/orderflow/tls.crt',
    keyFile: '/etc/tls.key',
    minVersion: 'TLSv1.1',
  });
  assert.equal(given.databaseUrl, 'postgresql://u:p%40ss@db.example.com/orderflow');
  assert.equal(given.dataDir, '/var/lib/orderflow');
  assert.equal(given.log.level, 'warn');
});

/** Setting, wrong value, what the line must contain besides the name and the value. */
const wrong: readonly (readonly [string, string, RegExp])[] = [
  ['SMTP_HOST', '127.0.0.1:2525', /must be an IP address or host name .* without port/],
  ['SMTP_HOST', '300.1.1.1', /such as 127\.0\.0\.1/],
  ['SMTP_HOST', '[::1]', /without port or brackets/],
  ['SMTP_PORT', '0', /whole number from 1 to 65535/],
  ['SMTP_PORT', '65536', /whole number from 1 to 65535/],
  ['SMTP_PORT', '25.0', /digits only/],
  ['SMTP_PORT', 'smtp', /digits only/],
  ['SMTP_PORT', 'tcp://10.0.0.7:25', /Kubernetes injects.*whole number from 1 to 65535.*enableServiceLinks/],
  ['SMTP_DOMAIN', 'orders@example.com', /domain names separated by commas/],
  ['SMTP_DOMAIN', 'example.com,,example.net', /domain names separated by commas/],
  ['SMTP_DOMAIN', 'example．com', /domain names separated by commas/],
  ['SMTP_DOMAIN', 'bü%63her.example', /domain names separated by commas/],
  ['SMTP_DOMAIN', 'srv_1.bücher.example', /domain names separated by commas/],
  ['SMTP_DOMAIN', '１２７.0.0.1', /domain names separated by commas/],
  ['SMTP_POSTMASTER_ORG', 'The Desk', /slug of an organisation/],
  ['SMTP_POSTMASTER_ORG', 'x'.repeat(58), /slug of an organisation/],
  ['SMTP_TLS_MIN_VERSION', 'SSLv3', /one of TLSv1, TLSv1\.1, TLSv1\.2, TLSv1\.3/],
  ['SMTP_TLS_MIN_VERSION', '1.0', /one of TLSv1/],
  ['SMTP_MAX_MESSAGE_SIZE', '25MB', /whole number of bytes .* such as 26214400/],
  ['SMTP_MAX_MESSAGE_SIZE', 'NaN', /whole number of bytes/],
  ['SMTP_MAX_MESSAGE_SIZE', '0', /whole number of bytes/],
  ['SMTP_MAX_MESSAGE_SIZE', '1e7', /whole number of bytes/],
  ['SMTP_MAX_MESSAGE_SIZE', '-26214400', /whole number of bytes/],
  ['SMTP_MAX_MESSAGE_SIZE', '0x1900000', /whole number of bytes/],
  ['SMTP_MAX_MESSAGE_SIZE', '99999999999999999999', /whole number of bytes/],
  ['SMTP_REQUIRE_TLS', 'yes', /true or false/],
  ['SMTP_MAX_CONNECTIONS', '1e3', /whole number from 1 to 100000/],
  ['SMTP_MAX_CONNECTIONS_PER_ADDRESS', '0', /whole number from 1 to 100000/],
  ['SMTP_MAX_RECIPIENTS', 'Infinity', /whole number from 1 to 10000/],
  ['SMTP_PROXY_PROTOCOL_FROM', '10.0.0.0/33', /IP addresses or networks/],
  ['HTTP_HOST', 'http://localhost', /IP address or host name/],
  ['HTTP_PORT', '8025/tcp', /whole number from 1 to 65535/],
  ['OBJECT_STORAGE_ENDPOINT', 's3.example.com', /http:\/\/ or https:\/\/ URL/],
  ['OBJECT_STORAGE_REGION', 'eu central', /region name/],
  ['OBJECT_STORAGE_BUCKET', 'My_Bucket', /bucket name/],
  ['OBJECT_STORAGE_PREFIX', '/orders', /names of letters/],
  ['OBJECT_STORAGE_PREFIX', 'orders//production', /names of letters/],
  ['OBJECT_STORAGE_PREFIX', 'orders/../production', /names of letters/],
  ['OBJECT_STORAGE_PREFIX', '~orders', /names of letters/],
  ['LOG_LEVEL', 'loud', /one of trace, debug, info, warn, error, fatal, silent/],
  ['LOG_FORMAT', 'xml', /one of json, pretty/],
];

for (const [name, value, expected] of wrong) {
  test(`${name}=${value} is one line with name, value and what would be right`, () => {
    const lines = problems({ [name]: value }).filter((line) => line.startsWith(`${name} is "`));
    assert.equal(lines.length, 1);
    assert.ok(lines[0]?.includes(JSON.stringify(value)), `${lines[0]}`);
    assert.match(lines[0] ?? '', expected);
    assert.doesNotMatch(lines[0] ?? '', /\n/);
  });
}

test('a Redis may be named with user, password, TLS and a database number', () => {
  for (const url of [
    'redis://r',
    'redis://r:6380/',
    'redis://r/15',
    'rediss://u:p%40ss@r.example.com:6380/0',
    'redis://:p@[::1]',
  ])
    assert.equal(settings({ REDIS_URL: url }).redisUrl, url);
});

const wrongSecrets: readonly (readonly [string, string])[] = [
  ['DATABASE_URL', 'mysql://user:hunter2@db/orderflow'],
  ['DATABASE_URL', 'hunter2'],
  ['REDIS_URL', 'http://:hunter2@redis'],
  ['REDIS_URL', 'redis://:hunter2@redis/orders'],
  ['REDIS_URL', 'redis://:hunter2%zz@redis'],
  ['REDIS_URL', 'redis://:hunter2@redis?enableOfflineQueue=true'],
  ['OBJECT_STORAGE_SESSION_TOKEN', 'hunter2 x'],
  ['OBJECT_STORAGE_ACCESS_KEY', 'hunter2 x'],
  ['OBJECT_STORAGE_SECRET_KEY', 'hunter2\tx'],
];

for (const [name, value] of wrongSecrets) {
  test(`a wrong ${name} (${value.length} characters) is told without its value`, () => {
    const lines = problems({ [name]: value });
    assert.ok(
      lines.some((line) => line.startsWith(`${name} (value not shown): must be `) || line.includes('without spaces')),
    );
    assert.doesNotMatch(lines.join('\n'), /hunter2/);
  });
}

test('Redis Sentinel and Cluster are refused in words, without a password', () => {
  for (const url of [
    'redis+sentinel://:hunter2@one:26379,two:26379/mymaster/0',
    'redis-sentinel://one:26379',
    'rediss+cluster://:hunter2@one:6379',
    'redis://:hunter2@one:6379,two:6379',
  ]) {
    const [line = '', ...more] = problems({ REDIS_URL: url });
    assert.match(line, /^REDIS_URL \(value not shown\): names Redis Sentinel, a Redis Cluster or several servers/);
    assert.doesNotMatch(line, /hunter2/);
    assert.deepEqual(more, []);
  }
});

test('a bucket may be used without keys, under a prefix, with an authority and a key of the KMS', () => {
  const given = { OBJECT_STORAGE_ENDPOINT: 'https://s3.example.com', OBJECT_STORAGE_BUCKET: 'mail' };
  const none = { accessKey: null, secretKey: null, sessionToken: null };
  assert.deepEqual(settings(given).objectStorage, {
    endpoint: 'https://s3.example.com',
    region: 'us-east-1',
    bucket: 'mail',
    prefix: '',
    ...none,
    secretFiles: none,
    kmsKeyId: null,
    caFile: null,
  });
  const more = settings({
    ...given,
    OBJECT_STORAGE_ACCESS_KEY: 'a',
    OBJECT_STORAGE_SECRET_KEY: 's',
    OBJECT_STORAGE_SESSION_TOKEN: 't',
    OBJECT_STORAGE_PREFIX: 'orderflow/production',
    OBJECT_STORAGE_KMS_KEY_ID: 'alias/mail',
    OBJECT_STORAGE_CA_FILE: 'ca.crt',
  }).objectStorage;
  assert.deepEqual(more, {
    endpoint: 'https://s3.example.com',
    region: 'us-east-1',
    bucket: 'mail',
    prefix: 'orderflow/production/',
    accessKey: 'a',
    secretKey: 's',
    sessionToken: 't',
    secretFiles: none,
    kmsKeyId: 'alias/mail',
    caFile: '/srv/orderflow/ca.crt',
  });
  assert.equal(settings({ ...given, OBJECT_STORAGE_PREFIX: 'one/' }).objectStorage?.prefix, 'one/');
  assert.match(problems({ ...given, OBJECT_STORAGE_PREFIX: 'x'.repeat(201) })[0] ?? '', /200 characters at most/);
});

test('credentials in an address that should have none are not shown either', () => {
  const lines = problems({ OBJECT_STORAGE_ENDPOINT: 'https://key:hunter2@s3.example.com' });
  assert.match(lines.join('\n'), /OBJECT_STORAGE_ENDPOINT is "https:\/\/\*\*\*@s3\.example\.com"/);
  assert.doesNotMatch(lines.join('\n'), /hunter2/);
});

test('every problem is told at once, not only the first', () => {
  assert.equal(problems({ SMTP_PORT: 'x', HTTP_PORT: 'y', LOG_LEVEL: 'z', SMTP_HOTS: 'a' }).length, 4);
});

test('an unknown name in our ranges is a problem, with the near one', () => {
  assert.deepEqual(problems({ SMTP_PROT: '25' }), ['SMTP_PROT is not a setting: did you mean SMTP_PORT?']);
  assert.match(
    problems({ SMTP_MAX_SIZE: '1' })[0] ?? '',
    /^SMTP_MAX_SIZE is not a setting: did you mean SMTP_MAX_MESSAGE_SIZE\?/,
  );
  assert.match(problems({ OBJECT_STORAGE_SECRET: 'hunter2' })[0] ?? '', /did you mean OBJECT_STORAGE_SECRET_KEY\?/);
  assert.match(
    problems({ HTTP_WORKER_THREADS: '3' })[0] ?? '',
    /those that begin with HTTP_ are HTTP_HOST, HTTP_PORT$/,
  );
  assert.match(problems({ smtp_port: '25' })[0] ?? '', /names are upper case, write SMTP_PORT/);
});

test('a near miss of any setting, and what others call it, is a problem where ours is not set', () => {
  for (const [name, meant] of [
    ['DATABSE_URL', 'DATABASE_URL'],
    ['DATABASE_URLS', 'DATABASE_URL'],
    ['DATABSAE_URL', 'DATABASE_URL'],
    ['DATABASE_URI', 'DATABASE_URL'],
    ['database_uri', 'DATABASE_URL'],
    ['POSTGRES_URL', 'DATABASE_URL'],
    ['REDIS_URI', 'REDIS_URL'],
    ['REDISURL', 'REDIS_URL'],
    ['S3_BUCKET', 'OBJECT_STORAGE_BUCKET'],
    ['OBJECTSTORAGE_BUCKET', 'OBJECT_STORAGE_BUCKET'],
    ['DATADIR', 'DATA_DIR'],
    ['LOGLEVEL', 'LOG_LEVEL'],
    ['WORKERS_CONCURRENCY', 'WORKER_CONCURRENCY'],
    ['OTEL_EXPORTER_OTLP_ENDPONT', 'OTEL_EXPORTER_OTLP_ENDPOINT'],
    ['SMPT_PORT', 'SMTP_PORT'],
  ] as const) {
    assert.deepEqual(problems({ [name]: 'hunter2' }), [`${name} is not a setting: did you mean ${meant}?`]);
  }
  assert.deepEqual(problems({ DATABASE_URL: 'postgresql://u@h/d', POSTGRES_URL: 'theirs', DB_URL: 'theirs' }), []);
});

test('in .env, which nobody else reads, every unknown name is a problem', () => {
  assert.deepEqual(problems({ COMPOSE_PROJECT_NAME: 'x' }), []);
  assert.deepEqual(problems({}, 'COMPOSE_PROJECT_NAME=x'), [
    'COMPOSE_PROJECT_NAME (from .env) is not a setting: remove it, the file is read by this program alone',
  ]);
  assert.deepEqual(problems({}, 'REDIS_URI=x'), ['REDIS_URI (from .env) is not a setting: did you mean REDIS_URL?']);
  assert.deepEqual(problems({}, 'DATABASE_URL=postgresql://u@h/d\nPGPASSWORD=x'), []);
});

test('what other software is told is left alone', () => {
  const others = [
    ...['HOME', 'PATH', 'TZ', 'PORT', 'HOST', 'USER', 'LANG', 'NODE_ENV', 'NO_COLOR', 'XDG_DATA_DIRS', 'XDG_DATA_HOME'],
    ...[
      'AWS_REGION',
      'AWS_ACCESS_KEY_ID',
      'AWS_SECRET_ACCESS_KEY',
      'AWS_ROLE_ARN',
      'OTEL_TRACES_EXPORTER',
      'OTEL_LOG_LEVEL',
    ],
    ...['REDIS_SERVICE_HOST', 'LOGNAME', 'LOG_DIR', 'LOG_FILE', 'DATA', 'TEMP_DIR', 'CACHE_DIR', 'OTEL_PROPAGATORS'],
  ];
  assert.deepEqual(problems(Object.fromEntries(others.map((name) => [name, 'x']))), []);
});

test('names of other software in our ranges are left alone', () => {
  const foreign = {
    HTTP_PROXY: 'http://proxy.example.com:3128',
    http_proxy: 'http://proxy.example.com:3128',
    SMTP_SERVICE_HOST: '10.0.0.7',
    SMTP_SERVICE_PORT: '25',
    SMTP_SERVICE_PORT_SMTP: '25',
    SMTP_PORT_25_TCP: 'tcp://10.0.0.7:25',
    SMTP_PORT_25_TCP_ADDR: '10.0.0.7',
    SMTP_INGEST_PORT: 'tcp://10.0.0.8:25',
    PATH: '/usr/bin',
  };
  assert.deepEqual(problems(foreign), []);
});

test('an empty or blank value counts as not set', () => {
  const given = settings({ SMTP_PORT: '', DATABASE_URL: '  ', SMTP_TLS_CERT_FILE: '', SMTP_NONSENSE: '' });
  assert.equal(given.smtp.port, 2525);
  assert.equal(given.databaseUrl, null);
});

test('a certificate enables TLS, with absolute paths', () => {
  const { smtp } = settings({
    SMTP_REQUIRE_TLS: 'true',
    SMTP_TLS_CERT_FILE: 'tls.crt',
    SMTP_TLS_KEY_FILE: '/k/tls.key',
  });
  assert.deepEqual(smtp.tls, { certFile: '/srv/orderflow/tls.crt', keyFile: '/k/tls.key', minVersion: 'TLSv1.2' });
  assert.equal(smtp.requireTls, true);
});

test('balancers are addresses and networks', () => {
  const { smtp } = settings({ SMTP_PROXY_PROTOCOL_FROM: '10.0.0.5, 192.168.0.0/16,2001:db8::/32' });
  assert.deepEqual(smtp.proxyProtocolFrom, ['10.0.0.5', '192.168.0.0/16', '2001:db8::/32']);
});

test('half-given groups are problems that name what is missing', () => {
  const tls = problems({ SMTP_TLS_CERT_FILE: 'tls.crt' });
  assert.ok(tls.some((line) => /^SMTP_TLS_KEY_FILE is not set, but SMTP_TLS_CERT_FILE is/.test(line)));
  const store = problems({ OBJECT_STORAGE_ENDPOINT: 'https://s3.example.com' });
  assert.deepEqual(
    store.map((line) => line.split(':')[0]),
    ['OBJECT_STORAGE_BUCKET is not set, but OBJECT_STORAGE_ENDPOINT is'],
  );
  const both = { OBJECT_STORAGE_ENDPOINT: 'https://s3.example.com', OBJECT_STORAGE_BUCKET: 'mail' };
  for (const [given, missing] of [
    ['ACCESS_KEY', 'SECRET_KEY'],
    ['SECRET_KEY', 'ACCESS_KEY'],
  ] as const) {
    const [line = '', ...more] = problems({ ...both, [`OBJECT_STORAGE_${given}`]: 'x' });
    assert.match(line, new RegExp(`^OBJECT_STORAGE_${missing} is not set, but OBJECT_STORAGE_${given} is`));
    assert.deepEqual(more, []);
  }
  assert.equal(problems({ ...both, OBJECT_STORAGE_SESSION_TOKEN: 'x' }).length, 2);
  assert.equal(problems({ OBJECT_STORAGE_PREFIX: 'x' }).length, 2);
  assert.ok(problems({ SMTP_REQUIRE_TLS: 'true' }).some((line) => /needs SMTP_TLS_CERT_FILE/.test(line)));
});

test('.env is read, the real environment wins, and a problem says where its value comes from', () => {
  const file = '\uFEFF# mine\nSMTP_PORT=2600\nexport HTTP_PORT="8600"\nSMTP_DOMAIN=one.example # here\n';
  const given = settings({ HTTP_PORT: '8700', SMTP_DOMAIN: '' }, file);
  assert.equal(given.smtp.port, 2600);
  assert.equal(given.http.port, 8700);
  assert.deepEqual(given.smtp.domains, ['one.example']);
  assert.match(problems({}, 'SMTP_PORT=many')[0] ?? '', /^SMTP_PORT \(from \.env\) is "many": /);
  assert.match(problems({}, 'REDIS_URL=redis:r')[0] ?? '', /^REDIS_URL \(from \.env\) \(value not shown\): must be /);
  assert.match(problems({}, 'SMTP_PROT=25')[0] ?? '', /did you mean SMTP_PORT/);
});

test('.env is read from the directory given, its absence is fine, and one that cannot be read is a problem', async (t) => {
  const cwd = await temporaryFolder(t);
  assert.ok('settings' in loadSettings({ env: {}, cwd }));
  await writeFile(join(cwd, '.env'), 'SMTP_PORT=2611\n');
  const loaded = loadSettings({ env: {}, cwd });
  assert.equal('settings' in loaded && loaded.settings.smtp.port, 2611);
  await mkdir(join(cwd, 'odd', '.env'), { recursive: true });
  const odd = loadSettings({ env: {}, cwd: join(cwd, 'odd') });
  assert.match('problems' in odd ? (odd.problems[0] ?? '') : '', /^\.env cannot be read \(EISDIR\)/);
});
