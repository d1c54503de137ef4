import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Command } from 'commander';
import { createProgram } from './program.ts';
import { createMemoryToolbox, createTestCli, TestStartError } from './test-context.ts';

function commandPaths(command: Command): string[][] {
  return [[], ...command.commands.flatMap((one) => commandPaths(one).map((path) => [one.name(), ...path]))];
}

const paths = commandPaths(createProgram({} as never));

test('the commands are those of the design', () => {
  const leaves = paths.filter(
    (path) => !paths.some((other) => other.length > path.length && path.every((name, i) => other[i] === name)),
  );
  assert.deepEqual(
    leaves.map((path) => path.join(' ')),
    [
      'start',
      'migrate',
      'org add',
      'org list',
      'block add',
      'block remove',
      'block list',
      'send',
      'messages list',
      'messages show',
      'messages raw',
      'messages retry',
      'documents list',
      'documents get',
      'jobs requeue',
      'reconcile',
      'doctor',
    ],
  );
});

for (const path of paths) {
  test(`"${[...path, '--help'].join(' ')}" explains on stdout and ends with 0`, async () => {
    const { code, stdout, stderr } = await createTestCli().run(...path, '--help');
    assert.equal(code, 0);
    assert.equal(stderr, '');
    assert.match(stdout, /^Usage: orderflow-ingest/);
    const isGroup = path.length > 0 && paths.some((other) => other.length > path.length && other[0] === path[0]);
    if (!isGroup) assert.match(stdout, /\$ .*orderflow-ingest/, 'an example');
  });
}

const id = '01890a5d-ac96-774b-bcce-b302099a8057';
const usedWrongly: readonly (readonly [readonly string[], RegExp])[] = [
  [[], /Usage: orderflow-ingest/],
  [['strat'], /unknown command 'strat'\n\(Did you mean start\?\)/],
  [['org'], /Usage: orderflow-ingest org/],
  [['org', 'list', '--jsno'], /unknown option '--jsno'/],
  [['org', 'list', 'acme'], /too many arguments/],
  [['org', 'add'], /missing required argument 'slug'/],
  [['org', 'add', 'Acme GmbH'], /A slug is 1 to 57 of a-z, 0-9 and hyphen/],
  [['org', 'add', 'a'.repeat(58)], /A slug is 1 to 57/],
  [['org', 'add', 'acme', '--name', ' '], /1 to 200 characters/],
  [['start', '--roles', 'smtp,web'], /one or more of smtp, worker, http/],
  [['start', '--roles', ''], /one or more of smtp, worker, http/],
  [['start', '--processes', '65'], /whole number from 1 to 64/],
  [['start', '--processes', 'many'], /whole number from 1/],
  [['start', '--processes', '0'], /whole number from 1/],
  [['block', 'add', 'example.net'], /Did you mean @example\.net\?/],
  [['block', 'add', 'a b@example.net'], /address such as spam@example\.net/],
  [['block', 'add', '@bü%63her.example'], /whole domain such as @example\.net/],
  [['block', 'add', '@a/b.de'], /whole domain such as @example\.net/],
  [['block', 'add', '@example．net'], /whole domain such as @example\.net/],
  [['block', 'add', '@srv_1.bücher.example'], /whole domain such as @example\.net/],
  [['block', 'add', '@'], /whole domain such as @example\.net/],
  [['block', 'add', '@.'], /@\.example\.net for that and all below it/],
  [['block', 'add', '@..example.net'], /@\.example\.net for that and all below it/],
  [['send', 'order.pdf'], /required option '--to/],
  [['send', '--to', 'acme'], /missing required argument 'file'/],
  [['send', '--to', 'No Slug', 'order.pdf'], /A slug is/],
  [['send', '--to', 'acme', '--smtp', 'localhost', 'order.pdf'], /host:port such as/],
  [['send', '--to', 'acme', '--smtp', 'localhost:99999', 'order.pdf'], /host:port such as/],
  [['send', '--to', 'acme', '--from', 'me', 'order.pdf'], /address such as buyer@example\.com/],
  [['messages', 'list', '--status', 'DONE'], /one of RECEIVED, STORED, PARSED, FAILED/],
  [['messages', 'list', '--limit', '0'], /whole number from 1/],
  [['messages', 'show', '42'], /An id looks like/],
  [['messages', 'raw', `${id}x`], /An id looks like/],
];

for (const [args, expected] of usedWrongly) {
  test(`"${args.join(' ').slice(0, 60)}" is used wrongly: 2, explained on stderr, nothing opened`, async () => {
    const { code, stdout, stderr } = await createTestCli().run(...args);
    assert.equal(code, 2);
    assert.equal(stdout, '');
    assert.match(stderr, expected);
    assert.doesNotMatch(stderr, /\n\s+at /);
  });
}

test('wrong settings are used wrongly: 2, one line each, for every command', async () => {
  const cli = createTestCli({ env: { SMTP_PORT: 'x', SMTP_PROT: '1' } });
  for (const args of [['start'], ['migrate'], ['org', 'list'], ['block', 'list'], ['messages', 'list']]) {
    const { code, stdout, stderr } = await cli.run(...args);
    assert.equal(code, 2);
    assert.equal(stdout, '');
    assert.match(stderr, /^error: SMTP_PORT is "x": must be .*\nerror: SMTP_PROT is not a setting: .*\n$/);
  }
});

const openToolbox = (error: Error) => ({ compose: { openToolbox: () => Promise.reject(error) } });

test('an error meant for the user is printed as it is, line by line, and ends with 1', async () => {
  const cli = createTestCli(openToolbox(new TestStartError('the database refuses connections\nis it running?')));
  assert.deepEqual(await cli.run('org', 'list').then(({ code, stderr }) => ({ code, stderr })), {
    code: 1,
    stderr: 'error: the database refuses connections\nerror: is it running?\n',
  });
});

test('an unexpected fault is one line and a hint, and shows its stack only with LOG_LEVEL=debug', async () => {
  const fault = openToolbox(new TypeError('x is not a function'));
  const quiet = await createTestCli(fault).run('org', 'list');
  assert.equal(quiet.code, 1);
  assert.equal(quiet.stderr, 'error: unexpected: x is not a function\nLOG_LEVEL=debug shows where it happened\n');
  const talkative = await createTestCli({ ...fault, env: { LOG_LEVEL: 'debug' } }).run('org', 'list');
  assert.match(talkative.stderr, /TypeError: x is not a function\n\s+at /);
});

test('Ctrl-C closes the toolbox before it ends the command with 1', async () => {
  const toolbox = createMemoryToolbox();
  const asked = Promise.withResolvers<void>();
  const organisations = {
    ...toolbox.organisations,
    list: () => {
      asked.resolve();
      return new Promise<never>(() => {});
    },
  };
  const cli = createTestCli({
    compose: { openToolbox: async () => ({ ...toolbox, organisations, close: toolbox.close }) },
  });
  const running = cli.run('org', 'list');
  await asked.promise;
  cli.signal('SIGINT');
  assert.deepEqual(await running.then(({ code, stderr }) => ({ code, stderr })), {
    code: 1,
    stderr: 'error: interrupted\n',
  });
  assert.ok(toolbox.closed);
});

test('migrate names what it applied', async () => {
  const cli = createTestCli({ compose: { migrate: async () => ({ applied: ['0001_tables', '0002_jobs'] }) } });
  const { code, stdout } = await cli.run('migrate');
  assert.equal(code, 0);
  assert.equal(stdout, 'applied 0001_tables\napplied 0002_jobs\n');
});

test('organisations are added, refused twice, and listed as text and as JSON', async () => {
  const toolbox = createMemoryToolbox();
  const cli = createTestCli({ compose: { openToolbox: async () => toolbox } });
  const added = await cli.run('org', 'add', 'ACME', '--name', 'Acme GmbH');
  assert.equal(added.code, 0);
  assert.match(added.stderr, /orders\+acme@orderflow\.example\.com/);
  const again = await cli.run('org', 'add', 'acme');
  assert.equal(again.code, 1);
  assert.match(again.stderr, /there is an organisation "acme" already/);
  assert.match((await cli.run('org', 'list')).stdout, /^slug .*\nacme .* active +Acme GmbH\n$/);
  const [one] = JSON.parse((await cli.run('org', 'list', '--json')).stdout);
  assert.deepEqual({ ...one, id: '' }, { id: '', slug: 'acme', name: 'Acme GmbH', disabled: false });
  assert.ok(toolbox.closed);
});

test('senders are blocked in lower case, for all or for one organisation, and unblocked where they were', async () => {
  const toolbox = createMemoryToolbox();
  const cli = createTestCli({ compose: { openToolbox: async () => toolbox } });
  await cli.run('org', 'add', 'acme');
  assert.equal((await cli.run('block', 'add', 'Spam@Example.NET')).code, 0);
  assert.equal((await cli.run('block', 'add', '@bücher.example', '--org', 'acme')).code, 0);
  assert.match((await cli.run('block', 'add', 'spam@example.net')).stderr, /was already blocked/);
  const listed = JSON.parse((await cli.run('block', 'list', '--json')).stdout);
  assert.deepEqual(
    listed.map(({ pattern, org_slug }: Record<string, unknown>) => [pattern, org_slug]),
    [
      ['spam@example.net', null],
      ['@xn--bcher-kva.example', 'acme'],
    ],
  );
  assert.equal((await cli.run('block', 'remove', '@bücher.example')).code, 1);
  assert.equal((await cli.run('block', 'remove', '@BÜCHER.example', '--org', 'acme')).code, 0);
  const unknown = await cli.run('block', 'add', 'a@example.net', '--org', 'nobody');
  assert.equal(unknown.code, 1);
  assert.match(unknown.stderr, /no organisation "nobody"/);
});
