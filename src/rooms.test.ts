import assert from 'node:assert/strict';
import { readdir, readFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { describe, it } from 'node:test';

/** A mail passes the rooms in this order; a room knows those before it. `intake` stands at the edge, before `documents`. */
const ORDER = ['smtp', 'routing', 'rawstore', 'messages', 'mime', 'documents', 'jobs'];
/** Engines that could be published alone: nothing of ours goes in, and any room may use what these files show. */
const ENGINES = new Map([
  ['smtp', ['index.ts', 'receiver.ts', 'replies.ts']],
  ['mime', ['index.ts', 'types.ts']],
]);
const INTAKE_KNOWS = ['smtp', 'routing', 'rawstore', 'messages', 'mime'];
/** The queue lives in the database and is migrated with it. */
const NEIGHBOURS = new Set(['adapters/postgres adapters/graphile']);
const EXEMPT = /^testing\/|\.(test|contract)\.ts$/;

interface Import {
  /** Relative to src. */
  readonly path: string;
  readonly typeOnly: boolean;
}

function importsOf(file: string, source: string): readonly Import[] {
  const statements = source.matchAll(
    /^\s*(import|export)\s+(type\s)?[^'";]*?['"](\.[^'"]+)['"]|(import)\(\s*['"](\.[^'"]+)['"]/gm,
  );
  return [...statements].map((found) => ({
    path: join(dirname(file), found[3] ?? found[5] ?? '').replaceAll('\\', '/'),
    typeOnly: found[2] !== undefined,
  }));
}

/** Why this file may not import that one; null when it may. */
function objection(file: string, { path, typeOnly }: Import): string | null {
  const room = roomOf(file);
  const other = roomOf(path);
  if (room === other && room !== 'adapters') return null;
  if (room === 'compose') return null;
  if (room === 'adapters') {
    const [from, to] = [adapterOf(file), adapterOf(path)];
    if (from === to || NEIGHBOURS.has(`${from} ${to}`) || ['ports', 'telemetry'].includes(other)) return null;
    return 'an adapter knows ports and telemetry';
  }
  if (other === 'adapters') return 'only compose/ joins ports and adapters';
  if (ENGINES.has(room)) return 'an engine knows nothing else of ours';
  const seen = ENGINES.get(other)?.map((name) => `${other}/${name}`);
  if (seen !== undefined && !seen.includes(path)) return `only ${seen.join(', ')} are seen from outside`;
  if (room === 'ports') return 'ports know ports';
  if (room !== 'intake' && !ORDER.includes(room)) return null;
  if (other === 'ports') return null;
  if (other === 'telemetry') return typeOnly ? null : 'a room knows the types of telemetry only';
  if (ENGINES.has(other)) return null;
  const known = room === 'intake' ? INTAKE_KNOWS : ORDER.slice(0, ORDER.indexOf(room));
  return known.includes(other) ? null : `${room} knows ports and ${known.join(', ') || 'nothing else'}`;
}

const roomOf = (path: string) => path.split('/', 1)[0] ?? '';
const adapterOf = (path: string) => path.split('/', 2).join('/');

/** Comments may speak of it. */
function readsEnvironment(source: string): boolean {
  const code = source.replaceAll(/\/\*.*?\*\/|^\s*\/\/.*$/gms, '');
  return /\bprocess\s*(\.\s*env\b|\[)|\{[^}]*\benv\b[^}]*\}\s*(=\s*process\b|from\s*['"]node:process['"])/.test(code);
}

function findingsIn(file: string, source: string): readonly string[] {
  if (EXEMPT.test(file)) return [];
  const findings = importsOf(file, source).flatMap((each) => {
    const why = objection(file, each);
    return why === null ? [] : [`${file} imports ${each.path}: ${why}`];
  });
  if (roomOf(file) !== 'config' && readsEnvironment(source))
    findings.push(`${file} reads process.env: only config does`);
  return findings;
}

describe('the rooms', () => {
  it('import ports and earlier rooms only', async () => {
    const src = import.meta.dirname;
    const files = (await readdir(src, { recursive: true })).filter((name) => name.endsWith('.ts'));
    assert.ok(files.length > 20, 'the tree was found');
    const findings = await Promise.all(
      files.map(async (name) => findingsIn(name.replaceAll('\\', '/'), await readFile(join(src, name), 'utf8'))),
    );
    assert.deepEqual(findings.flat().sort(), []);
  });

  for (const [file, line, allowed] of [
    ['smtp/engine.ts', "import { x } from './replies.ts';", true],
    ['smtp/engine.ts', "import type { Log } from '../telemetry/log.ts';", false],
    ['mime/parse.ts', "import type { X } from '../ports/object-store.ts';", false],
    ['routing/router.ts', "import type { X } from '../ports/organisations.ts';", true],
    ['routing/router.ts', "import { x } from '../smtp/index.ts';", true],
    ['routing/router.ts', "import { x } from '../smtp/engine.ts';", false],
    ['rawstore/a.ts', "import { x } from '../mime/index.ts';", true],
    ['rawstore/a.ts', "import { x } from '../mime/header-scan.ts';", false],
    ['routing/router.ts', "import { x } from '../messages/recorder.ts';", false],
    ['routing/router.ts', "export * from '../adapters/postgres/x.ts';", false],
    ['documents/a.ts', "import {\n  type X,\n  y,\n} from '../mime/index.ts';", true],
    ['documents/a.ts', "import { y } from '../mime/parser.ts';", false],
    ['documents/a.ts', "const { y } = await import('../jobs/tasks.ts');", false],
    ['documents/a.ts', "import type { Log } from '../telemetry/log.ts';", true],
    ['documents/a.ts', "import { log } from '../telemetry/log.ts';", false],
    ['documents/a.ts', "import '../http/server.ts';", false],
    ['intake/intake.ts', "import { x } from '../smtp/index.ts';", true],
    ['intake/intake.ts', "import { x } from '../documents/a.ts';", false],
    ['adapters/fs/a.ts', "import { x } from './b.ts';", true],
    ['adapters/fs/a.ts', "import { x } from '../postgres/b.ts';", false],
    ['adapters/fs/a.ts', "import { x } from '../../telemetry/log.ts';", true],
    ['adapters/fs/a.ts', "import { x } from '../../config/settings.ts';", false],
    ['ports/a.ts', "import { x } from '../routing/index.ts';", false],
    ['cli/a.ts', "import { x } from '../adapters/fs/b.ts';", false],
    ['compose/a.ts', "import { x } from '../adapters/fs/b.ts';", true],
    ['routing/a.test.ts', "import { x } from '../adapters/fs/b.ts';", true],
    ['testing/a.ts', 'const home = process.env.HOME;', true],
    ['config/load.ts', 'const { env } = process;', true],
    ['http/a.ts', 'const port = process.env.PORT;', false],
    ['http/a.ts', "const port = process['env'].PORT;", false],
    ['http/a.ts', 'const { env } = process;', false],
    ['http/a.ts', "import { env } from 'node:process';", false],
    ['http/a.ts', '// not process.env', true],
  ] as const) {
    it(`the guard ${allowed ? 'lets pass' : 'stops'} ${JSON.stringify(line)} in ${file}`, () => {
      assert.equal(findingsIn(file, line).length, allowed ? 0 : 1);
    });
  }
});
