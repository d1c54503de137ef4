/** What the README says about the commands, from the program itself. */
import type { Argument, Command, Option } from 'commander';
import type { CliContext } from './context.ts';
import { createProgram } from './program.ts';

export function commandsTable(): string {
  const rows = leaves(createProgram(deafContext)).map(
    (command) => `| ${code(usage(command))} | ${cell(command.description())} |`,
  );
  return ['| command | does |', '| --- | --- |', ...rows].join('\n');
}

function leaves(command: Command): readonly Command[] {
  return command.commands.length === 0 ? [command] : command.commands.flatMap(leaves);
}

function usage(command: Command): string {
  const names: string[] = [];
  for (let one: Command | null = command; one?.parent != null; one = one.parent) names.unshift(one.name());
  return [...names, ...command.registeredArguments.map(argument), ...command.options.map(option)].join(' ');
}

function argument(one: Argument): string {
  const name = `${one.name()}${one.variadic ? '...' : ''}`;
  return one.required ? `<${name}>` : `[${name}]`;
}

const option = (one: Option): string => (one.mandatory ? one.flags : `[${one.flags}]`);
const cell = (text: string): string => text.replaceAll('|', '\\|').replaceAll('<', '\\<');
const code = (text: string): string => `\`${text.replaceAll('|', '\\|')}\``;

const silent = {
  isTerminal: false,
  broken: false,
  failure: null,
  write: async () => {},
  line: async () => {},
  json: async () => {},
};

/** Enough to describe the commands; none is run. */
const deafContext: CliContext = {
  env: {},
  cwd: '.',
  ownCommand: 'orderflow-ingest',
  out: silent,
  err: silent,
  loadCompose: () => Promise.reject(new Error('commands are only described here')),
  onSignal: () => () => {},
  onReload: () => () => {},
  onReplace: () => () => {},
  scheduleAsBatch: async () => false,
  exitNow: () => {},
  followDeadlineMs: 0,
};
