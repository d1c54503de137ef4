/** What the log tells of refused mails: one line a session, each refusal an entry of it. */
import { waitFor } from '../../../src/testing/wait-for.ts';
import type { Ingest } from './ingest.ts';

export type Refusal = Readonly<Record<string, string>>;

/** All refusals of the first session that has one with these fields. */
export async function refusalsWith(ingest: Ingest, fields: Refusal): Promise<readonly Refusal[]> {
  const matches = (refusal: Refusal) => Object.entries(fields).every(([name, value]) => refusal[name] === value);
  const told = () =>
    ingest
      .logged({ msg: 'SMTP refusals', level: 'info' })
      .map(({ refusals }) => refusals as readonly Refusal[])
      .find((refusals) => refusals.some(matches));
  return waitFor(told, { what: `a refusal with ${JSON.stringify(fields)}` });
}
