import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { loadSettings } from '../config/load.ts';
import { waitFor } from '../testing/wait-for.ts';
import { banner } from './banner.ts';
import type { Role, RunningServer } from './context.ts';
import { createTestCli, type TestCliOptions, TestStartError } from './test-context.ts';

const server: RunningServer = {
  smtp: { host: '127.0.0.1', port: 2525 },
  http: { host: '127.0.0.1', port: 8025 },
  databaseUrl: 'postgresql:///orderflow?host=%2Fdata%2Fpostgres%2Fdata&user=orderflow&password=local',
  embeddedDatabase: true,
  firstOrganisation: 'acme',
  organisations: ['acme'],
  reload: async () => {},
  replaceProcesses: async () => {},
  stop: async () => {},
};

function text(facts: Partial<RunningServer>, forTerminal = true): string {
  const loaded = loadSettings({ env: { SMTP_DOMAIN: 'mail.example.org' }, cwd: '/', readEnvFile: () => null });
  assert.ok('settings' in loaded);
  return banner({ ...server, ...facts }, loaded.settings, { forTerminal, ownCommand: 'npx orderflow-ingest' });
}

test('the banner says where everything is and how to send the first mail, two ways', () => {
  const said = text({});
  for (const expected of [
    '"acme" was created',
    'orders+acme@mail.example.org',
    'SMTP            127.0.0.1:2525\n',
    'http://127.0.0.1:8025 ',
    'postgresql:///orderflow?host=%2Fdata%2Fpostgres%2Fdata&user=orderflow&password=local  (embedded)\n',
    '\n  npx orderflow-ingest send --to acme order.pdf\n',
    '\n  swaks --server 127.0.0.1:2525 --to orders+acme@mail.example.org --from buyer@example.com --attach @order.pdf\n',
  ]) {
    assert.ok(said.includes(expected), `${expected}\n${said}`);
  }
});

test('the commands in the banner work from this machine, wherever the server listens', () => {
  assert.match(text({ smtp: { host: '0.0.0.0', port: 25 } }), /send --to acme --smtp 127\.0\.0\.1:25 order\.pdf/);
  assert.match(text({ smtp: { host: '::', port: 2525 } }), /--server \[::1\]:2525 /);
  assert.match(text({ http: { host: '0.0.0.0', port: 80 } }), /http:\/\/127\.0\.0\.1:80 /);
});

test("the embedded database's password is shown to a terminal only", () => {
  const kept = text({}, false);
  assert.doesNotMatch(kept, /password=|local|postgresql:/);
  assert.match(kept, /Database {8}embedded, in \S+\/postgres {2}\(/);
});

test("an operator's own database is shown without its password", () => {
  const secrets = 'password=hunter2&sslpassword=hunter2&options=-c%20app.key%3Dhunter2';
  const databaseUrl = `postgresql://app:hunter2@db.example.com/orders?sslmode=require&${secrets}#hunter2`;
  const said = text({ databaseUrl, embeddedDatabase: false });
  assert.match(said, /postgresql:\/\/app@db\.example\.com\/orders\?sslmode=require\n/);
  assert.doesNotMatch(said, /hunter2/);
});

test('without the SMTP role or an organisation the banner promises nothing that cannot be done', () => {
  assert.doesNotMatch(text({ smtp: null }), /send|swaks|SMTP/);
  assert.match(text({ firstOrganisation: null, organisations: [] }), /org add acme/);
});

/** A running `start` with a server that counts its stops. */
function starting(facts: Partial<RunningServer> = {}, options: TestCliOptions = {}) {
  const seen = { stops: 0, roles: [] as readonly Role[] };
  const cli = createTestCli({
    ...options,
    env: { LOG_LEVEL: 'silent' },
    compose: {
      startServer: async ({ roles }) => {
        seen.roles = roles;
        return {
          ...server,
          stop: async () => {
            seen.stops += 1;
          },
          ...facts,
        };
      },
    },
  });
  return { cli, seen };
}

/** Signals until the command listens; start loads the log first. */
async function interrupt<T>(cli: ReturnType<typeof createTestCli>, running: Promise<T>): Promise<T> {
  const ended = waitFor(
    () => {
      cli.signal('SIGTERM');
      return Promise.race([running, sleep(20, null)]);
    },
    { what: 'start to end' },
  );
  return (await ended) as T;
}

test('how it is scheduled is settled before it starts anything, which inherits that', async () => {
  const order: string[] = [];
  const cli = createTestCli({
    env: { LOG_LEVEL: 'silent' },
    scheduleAsBatch: async () => {
      await sleep(10);
      order.push('scheduled');
      return true;
    },
    compose: {
      startServer: async () => {
        order.push('started');
        return server;
      },
    },
  });
  await interrupt(cli, cli.run('start'));
  assert.deepEqual(order, ['scheduled', 'started']);
});

test('a signal stops the server once and ends with 0; stdout is left to the log', async () => {
  const { cli, seen } = starting();
  const { code, stdout, stderr } = await interrupt(cli, cli.run('start', '--roles', 'http,smtp'));
  assert.equal(code, 0);
  assert.equal(stdout, '');
  assert.match(stderr, /OrderFlow Ingest is running\./);
  assert.equal(seen.stops, 1);
  assert.deepEqual(seen.roles, ['smtp', 'http']);
});

test('SIGHUP reloads and does not end the server; on a terminal it means what it always does', async () => {
  let reloads = 0;
  const reload = async () => {
    reloads += 1;
  };
  const { cli } = starting({ reload });
  const running = cli.run('start');
  await waitFor(() => cli.hangUp() > 0, { what: 'start to listen' });
  assert.equal(reloads, 1);
  await interrupt(cli, running);
  assert.equal(cli.hangUp(), 0);
  const onTerminal = starting({ reload }, { terminal: true });
  const runningThere = onTerminal.cli.run('start');
  await sleep(50);
  assert.equal(onTerminal.cli.hangUp(), 0);
  await interrupt(onTerminal.cli, runningThere);
  assert.equal(reloads, 1);
});

test('without --roles all run', async () => {
  const { cli, seen } = starting();
  await interrupt(cli, cli.run('start'));
  assert.deepEqual(seen.roles, ['smtp', 'worker', 'http']);
});

test('one Ctrl-C that arrives twice is one wish; another after a while ends at once with 1', async () => {
  const stopped = Promise.withResolvers<void>();
  const stopping = Promise.withResolvers<void>();
  const { cli } = starting({
    stop: async () => {
      stopping.resolve();
      await stopped.promise;
    },
  });
  const running = cli.run('start');
  const twice = () => {
    cli.signal('SIGINT');
    cli.signal('SIGINT');
  };
  const signalling = setInterval(twice, 5);
  await stopping.promise;
  clearInterval(signalling);
  assert.deepEqual(cli.exits, []);
  await waitFor(
    () => {
      cli.signal('SIGINT');
      return cli.exits.length > 0;
    },
    { what: 'the second signal to count' },
  );
  assert.equal(cli.exits[0], 1);
  stopped.resolve();
  assert.equal((await running).code, 0);
});

test('a start that cannot be is told in its own lines and ends with 1', async () => {
  const refuse = () => Promise.reject(new TestStartError('SMTP_PORT: 127.0.0.1:2525 is taken'));
  const { code, stderr } = await createTestCli({ compose: { startServer: refuse } }).run('start');
  assert.equal(code, 1);
  assert.equal(stderr, 'error: SMTP_PORT: 127.0.0.1:2525 is taken\n');
});
