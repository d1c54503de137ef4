/**
 * The generator's process: runs the jobs its parent sends, one after another, and answers each with what it saw. Apart
 * from the bench, so that neither waits for the other's event loop; one for all jobs, so that its code is compiled.
 */
import { type LoadJob, runLoad } from './load-run.ts';
import { type MailTemplate, mailTemplate } from './mails.ts';

const templates = new Map<number, MailTemplate>();

process.on('message', (job: LoadJob) => {
  const template = templates.get(job.sizeBytes) ?? mailTemplate(job.sizeBytes);
  templates.set(job.sizeBytes, template);
  void runLoad(job, template).then((result) => process.send?.(result));
});
process.on('disconnect', () => process.exit());
