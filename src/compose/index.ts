/**
 * This folder is the one place where ports meet adapters. Everything else is given what it needs by the functions here.
 *
 * A file for each program: `server.ts` (and `part.ts`, which its child processes run), `toolbox.ts`, `doctor.ts`,
 * `reconciler.ts` and `verifier.ts`. The other files are pieces that they share.
 */
export { type ExamineOptions, examine, examineHost } from './doctor.ts';
export { NoDatabaseError, StartError, StopError } from './errors.ts';
export { startPart } from './part.ts';
export { openReconciler } from './reconciler.ts';
export { startServer } from './server.ts';
export { migrate, openToolbox } from './toolbox.ts';
export { openVerifier } from './verifier.ts';
