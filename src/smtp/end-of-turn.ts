/**
 * What is to be done when all that has arrived in this turn of the event loop was taken in. A client that gets its reply
 * at once may interrupt us for its next command, with the rest of the turn still before us.
 */
const steps: (() => void)[] = [];

/** Steps run in the order they were given, before anything that arrives later is read. None may throw. */
export function atEndOfTurn(step: () => void): void {
  if (steps.push(step) === 1) setImmediate(runAll);
}

function runAll(): void {
  for (const step of steps.splice(0)) step();
}
