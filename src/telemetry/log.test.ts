import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { closeSync, openSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { cleanUp } from '../testing/clean-up.ts';
import { temporaryFolder } from '../testing/temporary-folder.ts';
import { createLog } from './log.ts';

function captured(format: 'json' | 'pretty', level: 'info' | 'debug' = 'info') {
  const lines: string[] = [];
  const log = createLog({ format, level }, { write: (line) => void lines.push(line) });
  return { log, lines };
}

test('a line is JSON with ISO time, level as a word, message and fields, and nothing of the host', () => {
  const { log, lines } = captured('json');
  log.child({ trace_id: 't1' }).warn({ org_id: 'o1' }, 'a\nb');
  log.debug('not written');
  assert.equal(lines.length, 1);
  assert.ok(lines[0]?.endsWith('}\n'));
  const { time, ...rest } = JSON.parse(lines[0] ?? '');
  assert.equal(new Date(time).toISOString(), time);
  assert.deepEqual(rest, { level: 'warn', trace_id: 't1', org_id: 'o1', msg: 'a\nb' });
});

test('an error keeps its stack and cause', () => {
  const { log, lines } = captured('json');
  log.error({ err: new Error('outer', { cause: new Error('inner') }) }, 'failed');
  const { err } = JSON.parse(lines[0] ?? '');
  assert.match(err.stack, /outer[\s\S]*inner/);
});

test('pretty lines carry no escape sequence that a stranger wrote', () => {
  const { log, lines } = captured('pretty');
  log.error({ err: new Error('said \u001b]0;pwned\u0007'), subject: '\u009b2J' }, 'peer said \u001b[2J\rhello');
  const text = lines.join('');
  assert.match(text, /peer said/);
  const ours = /\u001b\[[0-9;]*m/g;
  assert.doesNotMatch(text.replace(ours, ''), /[\u0000-\u0009\u000b-\u001f\u007f-\u009f]/);
});

for (const [what, count] of [
  ['a file', 5000],
  ['a pipe, as much as it holds', 300],
] as const) {
  test(`no line is lost however the process ends right after logging: ${what}`, async (t) => {
    const module = new URL('./log.ts', import.meta.url).href;
    const script = `
      const { createLog } = await import(${JSON.stringify(module)});
      const log = createLog({ format: 'json', level: 'info' });
      for (let i = 0; i < ${count}; i += 1) log.info({ i }, 'x'.repeat(100));
      process.kill(process.pid, 'SIGKILL');`;
    const path = join(await temporaryFolder(t), 'log');
    const file = openSync(path, 'w');
    cleanUp(t, () => closeSync(file));
    const ended = spawnSync(process.execPath, ['--input-type=module', '-e', script], {
      encoding: 'utf8',
      maxBuffer: 1e8,
      ...(what === 'a file' && { stdio: ['ignore', file, 'pipe'] }),
    });
    assert.equal(ended.signal, 'SIGKILL', ended.stderr);
    const lines = (ended.stdout ?? readFileSync(path, 'utf8')).trimEnd().split('\n');
    assert.equal(lines.length, count);
    assert.deepEqual(JSON.parse(lines.at(-1) ?? '').i, count - 1);
  });
}
