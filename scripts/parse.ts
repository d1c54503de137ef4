/** Prints one JSON line per mail file: its header and its attachments. `npm run -s parse -- FILE…` */
import { createReadStream } from 'node:fs';
import { parseMail } from '../src/mime/index.ts';
import { createRecorder } from '../src/mime/mail-record.ts';

const paths = process.argv.slice(2);
if (paths.length === 0) {
  console.error('usage: npm run -s parse -- FILE…');
  process.exitCode = 2;
}
for (const path of paths) {
  try {
    const recorder = createRecorder();
    for await (const event of parseMail(createReadStream(path))) recorder.observe(event);
    process.stdout.write(`${JSON.stringify(recorder.record(path))}\n`);
  } catch (error) {
    console.error(`${path}: ${(error as Error).message}`);
    process.exitCode = 1;
  }
}
