/** Cleaning up after a test in the reverse order of setting up; node:test's own `after` runs in the order given. */
import type { TestContext } from 'node:test';

type Task = () => Promise<void> | void;

const tasksOf = new WeakMap<TestContext, Task[]>();

/** Errors: a failing task fails the test; the others still run. */
export function cleanUp(t: TestContext, task: Task): void {
  const known = tasksOf.get(t);
  if (known) {
    known.push(task);
    return;
  }
  const tasks = [task];
  tasksOf.set(t, tasks);
  t.after(async () => {
    const errors: unknown[] = [];
    for (const each of tasks.reverse()) {
      try {
        await each();
      } catch (error) {
        errors.push(error);
      }
    }
    if (errors.length > 0) throw errors.length === 1 ? errors[0] : new AggregateError(errors, 'cleaning up failed');
  });
}
