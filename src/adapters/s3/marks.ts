import { GetObjectCommand, HeadObjectCommand, PutObjectCommand } from '@aws-sdk/client-s3';
import type { StoreMarks } from '../../ports/store-marks.ts';
import { createS3Client, defaultLimits, encryptionOf, type S3Limits, type S3Settings } from './client.ts';
import { isNotFound } from './errors.ts';
import { createRunOperation } from './operation.ts';

/** Behind the prefix; no key can begin with `~`, so no list of ours shows it. One name for all processes, a mark a line: the last one wins. */
export const MARK_KEY = '~seen';
/** Whoever wrote more into it was not us. */
const MAX_MARKS = 16;

export interface S3StoreMarks extends StoreMarks {
  /** Closes idle connections. */
  close(): void;
}

export function createS3StoreMarks(o: {
  readonly settings: S3Settings;
  readonly limits?: Partial<S3Limits>;
}): S3StoreMarks {
  const limits = { ...defaultLimits, ...o.limits };
  const client = createS3Client(o.settings, limits);
  const run = createRunOperation({ client, settings: o.settings, limits });
  const named = { Bucket: o.settings.bucket, Key: `${o.settings.prefix ?? ''}${MARK_KEY}` };
  return {
    read: () =>
      run({ action: 'read the mark' }, async (send) => {
        try {
          const { Body } = await client.send(new GetObjectCommand(named), send);
          const text = (await Body?.transformToString()) ?? '';
          return text.split(/\s+/, MAX_MARKS).filter((id) => id !== '');
        } catch (error) {
          if (isNotFound(error)) return [];
          throw error;
        }
      }),
    leave: (id, { beside }) =>
      run({ action: 'leave a mark' }, async (send) => {
        const Body = Buffer.from([id, ...beside].map((one) => `${one}\n`).join(''));
        const put = { ...named, Body, ContentType: 'text/plain', ...encryptionOf(o.settings) };
        await client.send(new PutObjectCommand(put), send);
        const { LastModified } = await client.send(new HeadObjectCommand(named), send);
        return LastModified ?? new Date();
      }),
    close: () => client.destroy(),
  };
}
