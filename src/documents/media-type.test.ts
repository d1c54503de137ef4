import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { effectiveMediaType } from './media-type.ts';

const PDF = Buffer.from('%PDF-1.7\n%\u00e2\u00e3\n1 0 obj\n');
const ZIP = Buffer.from('504b0304140000000800', 'hex');
const PNG = Buffer.from('89504e470d0a1a0a0000000d49484452000000010000000108060000001f15c489', 'hex');
const TEXT = Buffer.from('sku;amount\n4711;3\n');
const XLSX = 'application/vnd.openxmlformats-officedocument.spreadsheetml.sheet';

describe('the effective media type of a document', () => {
  for (const [declared, fileName, bytes, effective] of [
    ['application/pdf', 'order.pdf', PDF, 'application/pdf'],
    ['application/octet-stream', 'order.pdf', PDF, 'application/pdf'],
    ['application/octet-stream', null, PDF, 'application/pdf'],
    [null, 'order.dat', PDF, 'application/pdf'],
    ['application/octet-stream', 'order.csv', TEXT, 'text/csv'],
    ['application/x-unknown', 'order.CSV', TEXT, 'text/csv'],
    ['application/octet-stream', 'order.xlsx', ZIP, XLSX],
    ['application/octet-stream', 'orders.zip', ZIP, 'application/zip'],
    ['application/octet-stream', 'orders', ZIP, 'application/zip'],
    ['application/force-download', 'logo.png', PNG, 'image/png'],
    ['application/octet-stream', 'order', TEXT, 'application/octet-stream'],
    [null, null, Buffer.alloc(0), 'application/octet-stream'],
    ['pdf', 'order.pdf', TEXT, 'application/pdf'],
    ['application/zip', 'order.xlsx', ZIP, 'application/zip'],
    ['text/plain', 'order.pdf', PDF, 'text/plain'],
  ] as const) {
    it(`of ${declared} named ${fileName} is ${effective}`, async () => {
      assert.equal(await effectiveMediaType(declared, fileName, bytes), effective);
    });
  }
});
