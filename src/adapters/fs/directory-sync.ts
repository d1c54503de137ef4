interface Turn<T> {
  readonly done: Promise<T>;
  /** The sync after this one, asked for by those who came while this one ran. */
  next: Promise<T> | null;
}

/**
 * Shares directory syncs: all who make a file in a directory, or rename one into it, while a sync of it is under way wait
 * for the next one together. A sync that began before that does not cover it.
 *
 * A directory is absent (nobody waits), has a turn without `next` (a sync is under way for those who came before it
 * began), or a turn with `next` (others came since; one more sync follows for all of them).
 *
 * Errors: a failed sync rejects for those it was to serve and for those waiting for the next: the kernel may have
 * dropped their changes with the failure and would report the next sync as good. Who comes later starts afresh.
 */
export function createDirectorySync<T>(options: {
  readonly syncDirectory: (directory: string) => Promise<T>;
}): (directory: string) => Promise<T> {
  const turns = new Map<string, Turn<T>>();

  function start(directory: string): Promise<T> {
    const turn: Turn<T> = { done: options.syncDirectory(directory), next: null };
    turns.set(directory, turn);
    turn.done.then(
      () => turn.next === null && turns.delete(directory),
      () => turns.delete(directory),
    );
    return turn.done;
  }

  return (directory) => {
    const turn = turns.get(directory);
    if (turn === undefined) return start(directory);
    turn.next ??= turn.done.then(() => start(directory));
    return turn.next;
  };
}
