/** What nobody uses any more: exports, methods, and members of closed lists that are declared and never produced. */
import assert from 'node:assert/strict';
import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { defectMeanings } from '../src/mime/defects.ts';
import { replies } from '../src/smtp/index.ts';
import { errorTypes, objectStoreOperations, tlsOutcomes } from '../src/telemetry/metrics.ts';

const ROOT = join(import.meta.dirname, '..');

/** Comments are no use of a name. */
const code = new Map(
  globSync('{src,scripts,bench,test,examples}/**/*.ts', { cwd: ROOT }).map((path) => [
    path.replaceAll('\\', '/'),
    readFileSync(join(ROOT, path), 'utf8').replaceAll(/^\s*\/\*.*?\*\/|^\s*\/\/[^\n]*$/gms, ''),
  ]),
);
const product = [...code].filter(
  ([path]) => path.startsWith('src/') && !/\.(test|contract)\.ts$|\/testing\//.test(path),
);

const occurrences = new Map<string, number>();
for (const text of code.values())
  for (const [name] of text.matchAll(/[A-Za-z_$][\w$]*/g)) occurrences.set(name, (occurrences.get(name) ?? 0) + 1);

/** Shape: `path name` of every match that stands nowhere else. */
function onlyDeclared(declaration: RegExp): readonly string[] {
  return product.flatMap(([path, text]) =>
    [...text.matchAll(declaration)].flatMap(([, name = '']) =>
      occurrences.get(name) === 1 ? [`${path} ${name}`] : [],
    ),
  );
}

const exported = /^export (?:abstract |async )?(?:function\*?|const|let|class|interface|type) (\w+)/gm;
const method = /^ {2}(?:private |protected |static |async |get |set )*\*?([a-z]\w+)\([^\n]*\)(?:: [^\n]+)? \{$/gm;

test('every export and every method of a class is used somewhere', () => {
  assert.ok(code.size > 300 && [...product.flatMap(([, text]) => [...text.matchAll(exported)])].length > 500);
  assert.deepEqual(onlyDeclared(exported), []);
  assert.deepEqual(onlyDeclared(method), []);
});

for (const [what, declaredIn, members] of [
  ['reply', 'src/smtp/replies.ts', Object.keys(replies)],
  ['error type', 'src/telemetry/metrics.ts', errorTypes],
  ['operation of a store', 'src/telemetry/metrics.ts', objectStoreOperations],
  ['outcome of a handshake', 'src/telemetry/metrics.ts', tlsOutcomes],
  ['defect', 'src/mime/defects.ts', Object.keys(defectMeanings)],
] as const) {
  test(`every ${what} of the closed list is produced somewhere`, () => {
    const elsewhere = product.filter(([path]) => path !== declaredIn).map(([, text]) => text);
    const produced = (member: string) => elsewhere.some((text) => new RegExp(`['"\`]${member}['"\`]`).test(text));
    assert.deepEqual(
      members.filter((member) => !produced(member) && !elsewhereByName(elsewhere, member)),
      [],
    );
  });
}

/** `accepted: …`, `objects.put(…)`: a name without a hyphen need not stand in quotes. */
function elsewhereByName(texts: readonly string[], member: string): boolean {
  return !member.includes('-') && texts.some((text) => new RegExp(`\\b${member}\\b`).test(text));
}
