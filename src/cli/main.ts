/** The process behind the command line; bin/orderflow-ingest.cjs starts it. */
import { processEnvironment } from '../config/environment.ts';
import { isChild, runChild } from '../processes/child.ts';
import { scheduleAsBatch } from '../processes/scheduling.ts';
import type { CliContext } from './context.ts';
import { createOutput } from './output.ts';
import { ownCommand } from './own-command.ts';
import { runCli } from './program.ts';

const followDeadlineMs = 60_000;

const env = processEnvironment();
const context: CliContext = {
  env,
  cwd: process.cwd(),
  ownCommand: ownCommand({ env, calledAs: process.argv[1] ?? 'orderflow-ingest' }),
  out: createOutput(process.stdout),
  err: createOutput(process.stderr),
  loadCompose: () => import('../compose/index.ts'),
  onSignal(handler) {
    process.on('SIGTERM', handler).on('SIGINT', handler);
    return () => process.off('SIGTERM', handler).off('SIGINT', handler);
  },
  onReload(handler) {
    process.on('SIGHUP', handler);
    return () => process.off('SIGHUP', handler);
  },
  onReplace(handler) {
    if (process.platform === 'win32') return () => {}; // It has no such signal.
    process.on('SIGUSR2', handler);
    return () => process.off('SIGUSR2', handler);
  },
  scheduleAsBatch: () => scheduleAsBatch(),
  exitNow: (code) => process.exit(code),
  followDeadlineMs,
};

const args = process.argv.slice(2);
const code = isChild(args) ? await runChild(context.loadCompose) : await runCli(args, context);
// Whatever a part left open must not keep the process: everything that matters has been closed and waited for.
await Promise.all([context.out.write(''), context.err.write('')]);
process.exit(code);
