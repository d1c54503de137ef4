import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import pg from 'pg';
import { loadSettings } from './load.ts';

const DATABASE_URL = 'postgresql://app@db.example.com/orders';

const load = (env: Record<string, string>) => loadSettings({ env, cwd: '/srv', readEnvFile: () => null });

function urlOf(env: Record<string, string>): string {
  const loaded = load(env);
  assert.ok('settings' in loaded, JSON.stringify(loaded));
  return loaded.settings.databaseUrl ?? assert.fail('no URL');
}

function problemsOf(env: Record<string, string>): readonly string[] {
  const loaded = load(env);
  return 'problems' in loaded ? loaded.problems : [];
}

test('a URL that says all stays as it is written', () => {
  for (const url of [
    'postgresql://u:p%40ss@db.example.com/orders',
    'postgresql://u:a,b@db.example.com/orders',
    'postgresql:///orders?host=/var/run/postgresql',
    'postgres://app@db/orders?sslmode=verify-full&application_name=x',
    'postgres://app@db/orders?uselibpqcompat=true&sslmode=require',
  ])
    assert.equal(urlOf({ DATABASE_URL: url }), url);
});

test('password, TLS and options are filled where the URL leaves them out, as the driver reads them', () => {
  const given = { PGPASSWORD: "p@ss %41:/?#'", PGOPTIONS: '-c work_mem=8MB', PGSSLMODE: 'no-verify' };
  const client = new pg.Client(urlOf({ DATABASE_URL, ...given }));
  assert.equal(client.password, given.PGPASSWORD);
  const { searchParams } = new URL(urlOf({ DATABASE_URL, ...given }));
  assert.equal(searchParams.get('options'), given.PGOPTIONS);
  assert.equal(searchParams.get('sslmode'), 'no-verify');
  const socket = new pg.Client(urlOf({ DATABASE_URL: 'postgresql:///orders?host=/run/pg', PGPASSWORD: 'p%41' }));
  assert.deepEqual([socket.host, socket.password], ['/run/pg', 'p%41']);
});

test('what the URL says is not overruled', () => {
  const said = 'postgresql://app:mine@db/orders?sslmode=disable&options=-c%20jit%3Doff';
  const env = { PGPASSWORD: 'other', PGSSLMODE: 'verify-full', PGOPTIONS: '-c x=y', PGSSLROOTCERT: '/ca.pem' };
  assert.equal(urlOf({ DATABASE_URL: said, ...env }), said);
});

test('modes that only libpq tells apart check the certificate, and the driver need not warn of them', () => {
  const modeOf = (env: Record<string, string>) => new URL(urlOf(env)).searchParams.get('sslmode');
  for (const mode of ['prefer', 'require', 'verify-ca', 'verify-full']) {
    assert.equal(modeOf({ DATABASE_URL, PGSSLMODE: mode }), 'verify-full');
    assert.equal(modeOf({ DATABASE_URL: `${DATABASE_URL}?sslmode=${mode}` }), 'verify-full');
  }
  const withRoot = new URL(urlOf({ DATABASE_URL, PGSSLMODE: 'require', PGSSLROOTCERT: '/etc/ca.pem' }));
  assert.equal(withRoot.searchParams.get('sslrootcert'), '/etc/ca.pem');
  for (const env of [{ PGSSLMODE: 'allow' }, { PGSSLMODE: 'on' }])
    assert.match(problemsOf({ DATABASE_URL, ...env }).join(), /sslmode "(allow|on)" is not one of disable/);
});

test('any other variable of libpq is refused by name beside a DATABASE_URL, and means nothing without one', () => {
  for (const name of ['PGHOST', 'PGUSER', 'PGAPPNAME', 'PGSERVICE', 'PGCONNECT_TIMEOUT', 'PGTARGETSESSIONATTRS']) {
    assert.match(problemsOf({ DATABASE_URL, [name]: 'hunter2' }).join(), new RegExp(`^${name} is set, and beside`));
    assert.doesNotMatch(problemsOf({ DATABASE_URL, [name]: 'hunter2' }).join(), /hunter2/);
    assert.deepEqual(problemsOf({ [name]: 'hunter2' }), []);
  }
  const others = { PGBOUNCER_PORT: 'tcp://10.0.0.1:6432', PGBOUNCER_SERVICE_HOST: '10.0.0.1', PGDATA: '/var/lib/pg' };
  assert.deepEqual(problemsOf({ DATABASE_URL, ...others }), []);
});

test('several hosts are refused with that word', () => {
  for (const url of [
    'postgresql://u:hunter2@a,b/orders',
    'postgresql://u:hunter2@a:5432,b:5433/orders?target_session_attrs=read-write',
    'postgresql://u:hunter2@a/orders?host=a,b',
    'postgresql:///orders?host=/run/a%2C/run/b',
  ]) {
    const [problem, ...more] = problemsOf({ DATABASE_URL: url });
    assert.match(problem ?? '', /^DATABASE_URL \(value not shown\): names several hosts/);
    assert.deepEqual(more, []);
  }
});

test('the process itself and what it starts see none of them', () => {
  const module = fileURLToPath(new URL('./environment.ts', import.meta.url));
  const source = `
    import { processEnvironment } from ${JSON.stringify(module)};
    const { PGOPTIONS } = processEnvironment();
    console.log(JSON.stringify([PGOPTIONS, Object.keys(process.env).filter((name) => name.startsWith('PG'))]));`;
  const env = { ...process.env, PGOPTIONS: '-c a=b', PGCLIENTENCODING: 'LATIN1', PGSSLMODE: 'require' };
  const said = execFileSync(process.execPath, ['--input-type=module-typescript', '-e', source], { env });
  assert.deepEqual(JSON.parse(String(said)), ['-c a=b', []]);
});
