import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { test } from 'node:test';
import { takeOverConsole } from './library-console.ts';
import { createLog } from './log.ts';

test('what a library prints is a line of the log, short and harmless, and the console comes back', () => {
  const lines: Record<string, unknown>[] = [];
  const log = createLog({ format: 'json', level: 'info' }, { write: (line) => void lines.push(JSON.parse(line)) });
  const printed: unknown[] = [];
  const print = (...words: readonly unknown[]): void => void printed.push(words);
  const target = { trace: print, error: print, warn: print, info: print, log: print, debug: print };
  const undo = takeOverConsole(log, target);
  target.trace(new Error('Connection terminated'));
  target.error('attempt %d failed:\u001b[2J', 3, new TypeError('x'));
  target.warn('y'.repeat(5000));
  target.log('not worth a line at info');
  undo();
  target.log('again');
  assert.deepEqual(printed, [['again']]);
  assert.deepEqual(
    lines.map(({ level, console: method, text, msg }) => [level, method, String(text).slice(0, 60), msg]),
    [
      ['warn', 'trace', 'Error: Connection terminated'],
      ['warn', 'error', 'attempt 3 failed:\\u{1b}[2J TypeError: x'],
      ['warn', 'warn', 'y'.repeat(60)],
    ].map((line) => [...line, 'a library printed to the console']),
  );
  assert.equal(String(lines[2]?.text).length, 1000);
});

test('of a process nothing reaches standard error', () => {
  const here = import.meta.url;
  const script = `
    const { createLog } = await import(new URL('./log.ts', ${JSON.stringify(here)}));
    const { takeOverConsole } = await import(new URL('./library-console.ts', ${JSON.stringify(here)}));
    takeOverConsole(createLog({ format: 'json', level: 'debug' }));
    for (const method of ['trace', 'error', 'warn', 'info', 'log', 'debug']) console[method](new Error('words'));`;
  const ended = spawnSync(process.execPath, ['--input-type=module', '-e', script], { encoding: 'utf8' });
  assert.deepEqual([ended.status, ended.stderr], [0, '']);
  assert.equal(ended.stdout.trimEnd().split('\n').length, 6);
});
