/** Reads a Dockerfile as far as ours goes, and does in a plain folder what its COPY and RUN lines would do. */
import { spawnSync } from 'node:child_process';
import { cp, mkdir, readFile } from 'node:fs/promises';
import { dirname, join, posix, relative, sep } from 'node:path';

export interface Instruction {
  /** Upper case. */
  readonly name: string;
  /** The rest of the line, continuation lines joined. */
  readonly text: string;
}

/** From one FROM to the next. */
export interface Stage {
  readonly from: string;
  readonly alias: string | null;
  readonly instructions: readonly Instruction[];
}

/** Shape: the stages, and the default of each ARG before the first of them. */
export function parseDockerfile(source: string): { args: ReadonlyMap<string, string>; stages: readonly Stage[] } {
  const args = new Map<string, string>();
  const stages: (Stage & { readonly instructions: Instruction[] })[] = [];
  for (const { name, text } of instructionsOf(source)) {
    const stage = stages.at(-1);
    if (name === 'FROM') {
      const [from = '', , alias = null] = text.split(/\s+/);
      const resolved = from.replace(/\$\{(\w+)\}/g, (_match, arg: string) => args.get(arg) ?? '');
      stages.push({ from: resolved, alias, instructions: [] });
    } else if (stage === undefined) {
      const [arg = '', value = ''] = text.split('=');
      args.set(arg, value);
    } else {
      stage.instructions.push({ name, text });
    }
  }
  return { args, stages };
}

function instructionsOf(source: string): readonly Instruction[] {
  return source
    .replaceAll(/^\s*#.*\n/gm, '')
    .replaceAll(/\\\n\s*/g, ' ')
    .split('\n')
    .filter((line) => line.trim() !== '')
    .map((line) => {
      const [, name = '', text = ''] = /^(\w+)\s+(.*)$/.exec(line) ?? [];
      return { name: name.toUpperCase(), text: text.trim() };
    });
}

export function textsOf(stage: Stage, name: string): readonly string[] {
  return stage.instructions.filter((one) => one.name === name).map(({ text }) => text);
}

/** Of ENV lines, none of which has a space in a value. */
export function environmentOf(stage: Stage): Readonly<Record<string, string>> {
  const pairs = textsOf(stage, 'ENV').flatMap((text) => text.split(/\s+/));
  return Object.fromEntries(pairs.map((pair) => pair.split('=', 2)));
}

/** What is copied from the build context, not from an earlier stage. */
export function copiesOf(stage: Stage): readonly { readonly sources: readonly string[]; readonly target: string }[] {
  return textsOf(stage, 'COPY')
    .filter((text) => !text.startsWith('--from='))
    .map((text) => {
      const words = text.split(/\s+/);
      return { sources: words.slice(0, -1), target: words.at(-1) ?? '' };
    });
}

/** Whether `.dockerignore` keeps a path, relative to the context, out of it: the last line that matches decides. */
export function createIgnore(source: string): (path: string) => boolean {
  const rules = source
    .split('\n')
    .filter((line) => line.trim() !== '' && !line.startsWith('#'))
    .map((line) => ({ ignored: !line.startsWith('!'), pattern: globOf(line.replace(/^!/, '').trim()) }));
  return (path) => {
    const parents = path.split('/').map((_part, index, parts) => parts.slice(0, index + 1).join('/'));
    const matches = ({ pattern }: { pattern: RegExp }) => parents.some((one) => pattern.test(one));
    return rules.findLast(matches)?.ignored ?? false;
  };
}

/** Docker's: unlike a shell's, `*` matches a leading dot too. */
function globOf(pattern: string): RegExp {
  const escaped = pattern.replaceAll(/[.+^${}()|[\]\\]/g, '\\$&');
  return new RegExp(`^${escaped.replaceAll('**/', '(.*/)?').replaceAll(/(?<!\.)\*/g, '[^/]*')}$`);
}

/** Copies what the stage copies from the context `root` into `folder`, which stands for its WORKDIR. */
export async function copyStage(stage: Stage, root: string, folder: string): Promise<void> {
  const ignored = createIgnore(await readFile(join(root, '.dockerignore'), 'utf8'));
  for (const { sources, target } of copiesOf(stage)) {
    for (const source of sources) {
      const to = target.endsWith('/') ? join(folder, target, posix.basename(source)) : join(folder, target);
      await mkdir(dirname(to), { recursive: true });
      const filter = (path: string) => !ignored(relative(root, path).replaceAll(sep, '/'));
      await cp(join(root, source), to, { recursive: true, filter });
    }
  }
}

/** Runs a RUN line in `folder`. Shape: what it wrote, when it failed. */
export function runLine(text: string, folder: string): string | null {
  const { status, stdout, stderr } = spawnSync('sh', ['-c', text], { cwd: folder, encoding: 'utf8', timeout: 180_000 });
  return status === 0 ? null : `${text}\n${stdout}${stderr}`;
}
