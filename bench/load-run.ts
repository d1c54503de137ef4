/**
 * A raw SMTP client that costs little: prebuilt bytes out, three digits in. It waits for every reply, as `smtp-source`
 * does; a sender that pipelines would be faster on both sides.
 *
 * A session is greeting, EHLO, then MAIL, RCPT, DATA, mail for each mail, QUIT; without `reuse` it carries one mail.
 */
import { connect, type Socket } from 'node:net';
import { FORWARD_PATH, type MailTemplate, mailTemplate, REVERSE_PATH } from './mails.ts';

export interface LoadJob {
  readonly host: string;
  readonly port: number;
  /** Sessions open at the same time. */
  readonly senders: number;
  /** Many mails a session. */
  readonly reuse: boolean;
  readonly sizeBytes: number;
  /** A mail begun in time is finished. */
  readonly until: { readonly seconds: number } | { readonly mails: number };
  /** Part of every Message-ID; no two runs may have the same. */
  readonly run: string;
  /** Absent: all mails are for `acme`. Else they are for `org-0`, `org-1` … in turn, so many. */
  readonly organisations?: number;
}

export interface LoadResult {
  /** Mails answered 250. */
  readonly accepted: number;
  readonly elapsedMs: number;
  /** The reply that decided about a mail, or the session's first refusal, by code; broken connections by error code. */
  readonly replies: Readonly<Record<string, number>>;
  /** End of DATA to reply, of the accepted ones. */
  readonly ackMs: readonly number[];
  /** What the generator itself used; null when nobody knows. */
  readonly generatorCpuMs: number | null;
}

/** Above this the final dot is written when the rest is gone, so that the clock starts at the end of DATA. */
const ONE_WRITE_BYTES = 64 * 1024;
/** So many refusals in a row are no measurement any more. */
const MAX_FAILURES_OF_A_SENDER = 3;

interface Run {
  readonly job: LoadJob;
  readonly template: MailTemplate;
  readonly endsAt: number;
  begun: number;
  readonly ackMs: number[];
  readonly replies: Record<string, number>;
}

export async function runLoad(job: LoadJob, template = mailTemplate(job.sizeBytes)): Promise<LoadResult> {
  const cpuBefore = process.cpuUsage();
  const startedAt = performance.now();
  const endsAt = 'seconds' in job.until ? startedAt + job.until.seconds * 1000 : Number.POSITIVE_INFINITY;
  const run: Run = { job, template, endsAt, begun: 0, ackMs: [], replies: {} };
  await Promise.all(Array.from({ length: job.senders }, () => runSender(run)));
  const elapsedMs = performance.now() - startedAt;
  const { user, system } = process.cpuUsage(cpuBefore);
  return {
    accepted: run.ackMs.length,
    elapsedMs,
    replies: run.replies,
    ackMs: run.ackMs,
    generatorCpuMs: (user + system) / 1000,
  };
}

async function runSender(run: Run): Promise<void> {
  let failures = 0;
  while (failures < MAX_FAILURES_OF_A_SENDER && wantsMore(run)) {
    failures = (await runSession(run)) ? 0 : failures + 1;
  }
}

function wantsMore({ job, begun, endsAt }: Run): boolean {
  return 'mails' in job.until ? begun < job.until.mails : performance.now() < endsAt;
}

const MAIL = `MAIL FROM:<${REVERSE_PATH}>\r\n`;
const RCPT = `RCPT TO:<${FORWARD_PATH}>\r\n`;

function rcpt({ organisations }: LoadJob, serial: number): string {
  if (organisations === undefined) return RCPT;
  return RCPT.replace('+acme@', `+org-${serial % organisations}@`);
}

type Step = 'greeting' | 'ehlo' | 'mail' | 'rcpt' | 'data' | 'end' | 'quit';

/** Resolves when the connection is closed: true if all its mails were accepted. */
function runSession(run: Run): Promise<boolean> {
  const { job, replies } = run;
  // Taken at once, so that a hundred senders asked for a hundred mails send one each.
  let serial = run.begun++;
  let step: Step = 'greeting';
  let endedDataAt = 0;
  let clean = true;
  const socket = connect({ host: job.host, port: job.port, noDelay: true });
  const say = (next: Step, line: string): void => {
    step = next;
    socket.write(line, 'latin1');
  };
  const fail = (why: string): void => {
    clean = false;
    replies[why] = (replies[why] ?? 0) + 1;
  };
  const accepted = (): void => {
    run.ackMs.push(performance.now() - endedDataAt);
    replies['250'] = (replies['250'] ?? 0) + 1;
    if (job.reuse && wantsMore(run)) {
      serial = run.begun++;
      say('mail', MAIL);
    } else say('quit', 'QUIT\r\n');
  };
  onReply(socket, (code) => {
    if (step === 'quit') return void socket.end();
    if (code >= 400) {
      fail(String(code));
      return say('quit', 'QUIT\r\n');
    }
    if (step === 'greeting') say('ehlo', 'EHLO bench.example\r\n');
    else if (step === 'ehlo') say('mail', MAIL);
    else if (step === 'mail') say('rcpt', rcpt(job, serial));
    else if (step === 'rcpt') say('data', 'DATA\r\n');
    else if (step === 'data') {
      step = 'end';
      writeMail(socket, run, serial, (at) => {
        endedDataAt = at;
      });
    } else accepted();
  });
  return new Promise((resolve) => {
    socket.on('error', (error: NodeJS.ErrnoException) => fail(error.code ?? 'connection error'));
    socket.on('close', () => {
      if (clean && step !== 'quit') fail('closed by server');
      resolve(clean);
    });
  });
}

function writeMail(socket: Socket, { template, job }: Run, serial: number, ended: (at: number) => void): void {
  const head = template.head(job.run, serial);
  if (template.sizeBytes <= ONE_WRITE_BYTES) {
    socket.cork();
    socket.write(head, 'latin1');
    socket.write(template.rest);
    socket.write('.\r\n', 'latin1');
    ended(performance.now());
    socket.uncork();
    return;
  }
  socket.write(head, 'latin1');
  socket.write(template.rest, () => {
    ended(performance.now());
    socket.write('.\r\n', 'latin1');
  });
}

/** Calls with the code of every whole reply, however it was cut into packets. */
function onReply(socket: Socket, reply: (code: number) => void): void {
  let text = '';
  socket.on('data', (bytes: Buffer) => {
    text += bytes.toString('latin1');
    for (let end = text.indexOf('\r\n'); end !== -1; end = text.indexOf('\r\n')) {
      const isLast = text[3] !== '-';
      const code = isLast ? Number(text.slice(0, 3)) : 0;
      text = text.slice(end + 2);
      if (isLast) reply(code);
    }
  });
}
