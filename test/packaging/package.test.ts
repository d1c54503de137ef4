/** What `npm pack` makes: nothing but what an installation needs, and working when installed into an empty folder. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { chown, mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { builtinModules } from 'node:module';
import { delimiter, join, normalize } from 'node:path';
import { after, before, describe, it, type TestContext } from 'node:test';
import { promisify } from 'node:util';
import { bareEnvironment } from '../../src/testing/environment.ts';
import { missing } from '../../src/testing/missing.ts';
import { type ProductOptions, startProduct } from '../../src/testing/product.ts';
import { makeTemporaryFolder, removeFolder } from '../../src/testing/temporary-folder.ts';
import { waitFor } from '../../src/testing/wait-for.ts';
import { install, pack, RegistryUnreachableError, ROOT, run, unpack } from './packed.ts';

/** Whom Debian and others call `nobody`. */
const NOBODY = { uid: 65_534, gid: 65_534 };

describe('the package', () => {
  let folder = '';
  let tarball = '';
  let unpacked = '';
  let files: readonly string[] = [];

  before(async () => {
    folder = await makeTemporaryFolder();
    tarball = await pack(folder);
    unpacked = await unpack(tarball);
    const entries = await readdir(unpacked, { recursive: true, withFileTypes: true });
    files = entries
      .filter((entry) => !entry.isDirectory())
      .map((entry) => join(entry.parentPath, entry.name).slice(unpacked.length + 1));
  });
  after(() => removeFolder(folder));

  const scripts = async (): Promise<readonly { name: string; text: string }[]> => {
    const names = files.filter((name) => name.endsWith('.js'));
    return Promise.all(names.map(async (name) => ({ name, text: await readFile(join(unpacked, name), 'utf8') })));
  };

  it('holds the program as plain JavaScript, its migrations, documentation, deployment files and examples, and nothing else', async () => {
    const known = /^(package\.json|README\.md|CHANGELOG\.md|\.env\.example|bin\/orderflow-ingest\.cjs)$/;
    const built = (name: string): boolean =>
      /^dist\/.*\.js$/.test(name) && existsSync(join(ROOT, name.replace(/^dist(.*)\.js$/, 'src$1.ts')));
    const numberedOrPage = /^(migrations\/\d{4}_\w+\.sql|docs\/(decisions\/)?[\w-]+\.(md|sql))$/;
    const whole = (await run('git', ['ls-files', 'deploy', 'examples'], ROOT)).stdout.trim().split('\n');
    assert.ok(whole.length > 20);
    const strangers = files.filter(
      (name) => !known.test(name) && !built(name) && !numberedOrPage.test(name) && !whole.includes(name),
    );
    assert.deepEqual(strangers, []);
    const tests = files.filter(
      (name) => !whole.includes(name) && /\.(test|contract)\.|(^|\/)(testing|test-[^/]*)(\/|$)/.test(name),
    );
    assert.deepEqual(tests, []);
    const migrations = (await readdir(join(ROOT, 'migrations'))).map((name) => `migrations/${name}`);
    const needed = [
      ...migrations,
      ...whole,
      'dist/cli/main.js',
      'dist/compose/index.js',
      '.env.example',
      'README.md',
      'CHANGELOG.md',
    ];
    assert.deepEqual(
      needed.filter((name) => !files.includes(name)),
      [],
    );
  });

  it('names no folder of the machine it was made on, and no source map', async () => {
    for (const name of files) {
      const text = await readFile(join(unpacked, name), 'utf8');
      assert.ok(!text.includes(ROOT), name);
      assert.ok(!text.includes('sourceMappingURL'), name);
    }
  });

  it('finds what it opens by a relative path, and imports only what it depends on', async () => {
    const manifest = JSON.parse(await readFile(join(unpacked, 'package.json'), 'utf8'));
    const installed = new Set([
      ...Object.keys({ ...manifest.dependencies, ...manifest.optionalDependencies }),
      ...builtinModules,
    ]);
    for (const { name, text } of await scripts()) {
      assert.ok(!/(['"`])\.{1,2}\/[^'"`\n]*\.ts\1/.test(text), `${name} asks for a .ts file`);
      const opened = text.matchAll(/(?:new URL\(|import\.meta\.dirname, )(['"`])(\.[^'"`$]*)\1/g);
      const imported = text.matchAll(/(?:\bfrom |\bimport\(|^import )(['"])(\.[^'"]*)\1/gm);
      for (const [, , path = ''] of [...opened, ...imported]) {
        const target = normalize(join(name, '..', path)).replace(/\/$/, '');
        assert.ok(
          files.some((file) => file === target || file.startsWith(`${target}/`)),
          `${name} wants ${path}; a script that is started, not imported, belongs into tsconfig.build.json`,
        );
      }
      for (const [, , path = ''] of text.matchAll(/(?:\bfrom |\bimport\(|^import )(['"])([^.'"][^'"]*)\1/gm)) {
        const dependency = /^(?:node:)?((?:@[^/]+\/)?[^/]+)/.exec(path)?.[1] ?? '';
        assert.ok(installed.has(dependency), `${name} imports ${path}, which is not among the dependencies`);
      }
    }
  });

  it('leaves out the settings with secrets that lie beside the deployment files', async () => {
    const secrets = ['deploy/compose/env', 'deploy/kubernetes/overlays/example/secrets.env'];
    const made = secrets.filter((name) => !existsSync(join(ROOT, name)));
    const listed = await Promise.all(made.map((name) => writeFile(join(ROOT, name), 'SECRET=1\n')))
      .then(() => run('npm', ['pack', '--dry-run', '--ignore-scripts', '--json'], ROOT))
      .finally(() => Promise.all(made.map((name) => rm(join(ROOT, name), { force: true }))));
    assert.ok(listed.stdout.includes('deploy/compose/env.example'));
    for (const name of secrets) assert.ok(!listed.stdout.includes(`"${name}"`), name);
  });

  it('works when it is installed into an empty folder', async (t) => {
    const cwd = join(folder, 'local');
    await mkdir(cwd);
    if (!(await installed(t, cwd))) return;
    const { version } = JSON.parse(await readFile(join(ROOT, 'package.json'), 'utf8'));
    const path = { ...bareEnvironment(), ...pathWith(join(cwd, 'node_modules/.bin')) };
    assert.equal((await run('npx', ['--no', '--', 'orderflow-ingest', '--version'], cwd, path)).stdout, `${version}\n`);
    await takesAMail(t, { program: join(cwd, 'node_modules/.bin/orderflow-ingest'), env: path });
  });

  it('works for another user than the one who installed it for all', async (t) => {
    const prefix = join(folder, 'prefix');
    await mkdir(prefix);
    if (!(await installed(t, folder, '--global', `--prefix=${prefix}`))) return;
    // With whatever Node the system has: an old one hands over to the one that came along.
    const program = join(prefix, 'bin/orderflow-ingest');
    // What the unit starts, by a link from /opt/orderflow-ingest to the package.
    const unit = await readFile(
      join(prefix, 'lib/node_modules/orderflow-ingest/deploy/systemd/orderflow-ingest.service'),
      'utf8',
    );
    for (const [, name = ''] of /^ExecStart=(.*)$/m.exec(unit)?.[0].matchAll(/\/opt\/orderflow-ingest\/(\S+)/g) ?? []) {
      assert.ok(existsSync(join(prefix, 'lib/node_modules/orderflow-ingest', name)), name);
    }
    const account = process.getuid?.() === 0 ? { account: NOBODY } : {};
    await takesAMail(t, { program, env: systemPath(join(prefix, 'lib/node_modules/orderflow-ingest')), ...account });
  });

  async function installed(t: TestContext, cwd: string, ...options: readonly string[]): Promise<boolean> {
    try {
      await install(tarball, cwd, ...options);
      return true;
    } catch (error) {
      if (!(error instanceof RegistryUnreachableError)) throw error;
      missing(t, 'the npm registry', error.message);
      return false;
    }
  }

  /** Started on a new data folder it takes a mail by the command that its banner names, reads it and stops. */
  async function takesAMail(t: TestContext, options: Omit<ProductOptions, 'dataDir'>): Promise<void> {
    const dataDir = join(folder, `data-${options.account === undefined ? 'own' : 'other'}`);
    await mkdir(dataDir);
    if (options.account !== undefined) await chown(dataDir, options.account.uid, options.account.gid);
    const product = await startProduct(t, { ...options, dataDir });
    await writeFile(join(dataDir, 'order.pdf'), '%PDF-1.7\n');
    const command = /^ {2}(.* send .*order\.pdf)$/m.exec(product.stderr())?.[1] ?? '';
    assert.match(command, /^(\/\S+\/)?orderflow-ingest send --to acme --smtp /, product.stderr());
    const env = { ...bareEnvironment(), ...options.env, DATA_DIR: dataDir };
    const sent = await promisify(execFile)('sh', ['-c', command], { cwd: dataDir, env, ...options.account });
    assert.match(sent.stdout, /250 2\.0\.0 accepted .*order\.pdf/s);
    await waitFor(() => product.log.some((line) => line.msg === 'mail parsed'), { what: 'PARSED' });
    await product.stop();
    assert.deepEqual(product.strayOutput, []);
  }
});

const pathWith = (folder: string): Record<string, string> => ({
  PATH: [folder, bareEnvironment().PATH].join(delimiter),
});

/** Without the Node of this project. */
function systemPath(packageFolder: string): Record<string, string> {
  const folders = (bareEnvironment().PATH ?? '').split(delimiter).filter((folder) => !folder.includes('node_modules'));
  if (folders.some((folder) => existsSync(join(folder, 'node')))) return { PATH: folders.join(delimiter) };
  return pathWith(join(packageFolder, 'node_modules/.bin'));
}
