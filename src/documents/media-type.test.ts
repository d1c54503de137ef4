import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { effectiveMediaType, mediaTypeExtension } from './media-type.ts';

const NO_BYTES = Buffer.alloc(0);
const TEXT = Buffer.from('sku;amount\n4711;3\n');
const PDF = Buffer.from('%PDF-1.7\n%\u00e2\u00e3\n1 0 obj\n', 'latin1');
const XML = Buffer.from('<?xml version="1.0"?><order/>');
const RTF = Buffer.from('{\\rtf1 4711}');
const UTF16 = Buffer.from('\ufeffsku;amount\n', 'utf16le');
const ZIP = Buffer.from('504b0304140000000800', 'hex');
const EMPTY_ZIP = Buffer.from('504b0506000000000000000000000000000000000000', 'hex');
const COMPOUND = Buffer.from(`d0cf11e0a1b11ae1${'00'.repeat(56)}`, 'hex');
const GZIP = Buffer.from('1f8b0800000000000003030000000000', 'hex');
const PNG = Buffer.from('89504e470d0a1a0a0000000d49484452000000010000000108060000001f15c489', 'hex');
const JPEG = Buffer.from('ffd8ffe000104a46494600', 'hex');
const TIFF = Buffer.from('49492a0008000000000000', 'hex');
const RAR = Buffer.from('526172211a070100', 'hex');
const DWG = Buffer.from(`414331303332${'00'.repeat(20)}`, 'hex');
/** DER around a PDF, as an opaque signature has it. */
const SIGNED_PDF = Buffer.concat([Buffer.from('308006092a864886f70d010702a080', 'hex'), PDF]);

const XLS = 'application/vnd.ms-excel';
const XLSX = 'application/vnd.openxmlformats-officedocument.spreadsheetml.sheet';
const DOCX = 'application/vnd.openxmlformats-officedocument.wordprocessingml.document';
const OCTETS = 'application/octet-stream';

/** A ZIP whose content shows that it is a workbook: its first entry, not compressed. */
const WORKBOOK = zipEntry(
  '[Content_Types].xml',
  `<Types><Override PartName="/xl/workbook.xml" ContentType="${XLSX}.main+xml"/></Types>`,
);

function zipEntry(name: string, text: string): Buffer {
  const header = Buffer.alloc(30);
  header.writeUInt32LE(0x04034b50, 0);
  header.writeUInt16LE(20, 4);
  header.writeUInt32LE(text.length, 18);
  header.writeUInt32LE(text.length, 22);
  header.writeUInt16LE(name.length, 26);
  return Buffer.concat([header, Buffer.from(name + text), EMPTY_ZIP]);
}

const prefixed = (prefix: string): Buffer => Buffer.concat([Buffer.from(prefix, 'latin1'), PDF]);

describe('the effective media type of a document', () => {
  for (const [kind, cases] of Object.entries({
    'the sender says nothing': [
      [OCTETS, 'order.pdf', PDF, 'application/pdf'],
      [OCTETS, null, PDF, 'application/pdf'],
      [null, 'order.dat', PDF, 'application/pdf'],
      [OCTETS, 'order.csv', TEXT, 'text/csv'],
      ['application/x-unknown', 'order.CSV', TEXT, 'text/csv'],
      ['application/x-unknown-content-type-foxitreader.document', 'order.csv', TEXT, 'text/csv'],
      [OCTETS, 'order.xlsx', ZIP, XLSX],
      [OCTETS, 'order.xlsx', COMPOUND, XLSX],
      [OCTETS, 'order.xls', ZIP, XLS],
      [OCTETS, 'order', WORKBOOK, XLSX],
      [OCTETS, 'orders.zip', ZIP, 'application/zip'],
      [OCTETS, 'orders', ZIP, 'application/zip'],
      [OCTETS, 'orders.bin', ZIP, 'application/zip'],
      [OCTETS, 'order.pdf', ZIP, 'application/zip'],
      [OCTETS, 'order.csv', GZIP, 'application/gzip'],
      [OCTETS, 'order.xml', XML, 'application/xml'],
      [OCTETS, 'order.xls', XML, XLS],
      [OCTETS, 'order.doc', RTF, 'application/rtf'],
      [OCTETS, 'orders.rar', RAR, 'application/vnd.rar'],
      ['application/force-download', 'logo.png', PNG, 'image/png'],
      ['application/vnd.ms-office', 'order.xls', COMPOUND, XLS],
      ['application/vnd.openxmlformats', 'order.xlsx', ZIP, XLSX],
      ['application/vnd.openxmlformats-officedocument.spreadsheetml.she', 'order.xlsx', ZIP, XLSX],
      ['image/*', 'scan.tif', TIFF, 'image/tiff'],
      ['excel/xls', 'order.xls', COMPOUND, XLS],
      ['file/csv', 'order.csv', TEXT, 'text/csv'],
      ['pdf', 'order.pdf', TEXT, 'application/pdf'],
      [OCTETS, 'order', TEXT, OCTETS],
      ['document/unknown', null, TEXT, OCTETS],
      [null, null, NO_BYTES, OCTETS],
    ],
    'the name has to be cleaned': [
      [OCTETS, 'order.csv ', TEXT, 'text/csv'],
      [OCTETS, 'order.csv\u200f', TEXT, 'text/csv'],
      [OCTETS, 'order.csv.', TEXT, 'text/csv'],
      [OCTETS, 'order.\tcsv', TEXT, 'text/csv'],
      [OCTETS, 'order.c\u200bsv', TEXT, 'text/csv'],
      [OCTETS, 'C:\\orders.zip\\order', TEXT, OCTETS],
      [OCTETS, `${'x'.repeat(2_000)}.csv`, TEXT, 'text/csv'],
    ],
    'text begins like something else': [
      [OCTETS, 'order.csv', Buffer.from('BM-1000;3;Bohrmaschine, 18 V, mit Koffer\n'), 'text/csv'],
      [OCTETS, 'order.csv', Buffer.from('solid steel;4\n'), 'text/csv'],
      [OCTETS, 'order.txt', Buffer.from('MZ 4711\n'), 'text/plain'],
      [OCTETS, null, Buffer.from('BM-1000;3;Bohrmaschine, 18 V, mit Koffer\n'), OCTETS],
      ['text/plain', null, Buffer.from('BM-1000;3;Bohrmaschine, 18 V, mit Koffer\n'), 'text/plain'],
    ],
    'a multipart is a file': [
      ['multipart/x-zip', 'orders.zip', EMPTY_ZIP, 'application/zip'],
      ['multipart/x-zip', null, EMPTY_ZIP, 'application/zip'],
      ['multipart/mixed', 'order.pdf', PDF, 'application/pdf'],
      ['multipart/x-gzip', 'orders.gz', GZIP, 'application/gzip'],
      ['multipart/mixed', 'order.csv', TEXT, 'text/csv'],
      ['multipart/alternative', null, TEXT, OCTETS],
    ],
    'PDF has a declared type that is none, or another': [
      ...[
        ...['document/pdf', 'application/application', 'application/x-pdf', 'text/pdf', 'text/x-pdf', 'image/pdf'],
        ...['pdf/application', '*/*', 'application/acrobat', 'application/x-acrobat', 'application/vnd.adobe.acrobat'],
        ...['application/vnd.pdf', 'applications/vnd.pdf', 'application/pdf.pdf', 'application/x-bzpdf', 'file/pdf'],
        ...['application/x-unknown-content-type-pdf_auto_file', 'text/plain', 'text/html', 'image/jpeg', XLS],
      ].flatMap((declared) => [
        [declared, 'order.pdf', PDF, 'application/pdf'] as const,
        [declared, null, PDF, 'application/pdf'] as const,
        [declared, 'order', PDF, 'application/pdf'] as const,
      ]),
      ['application/pdf', '=03_order.xlsx.XLS', PDF, 'application/pdf'],
      ['application/x-pdf', 'order.csv', PDF, 'application/pdf'],
      ['text/plain', 'order.xls', PDF, 'application/pdf'],
    ],
    'PDF has other bytes before its header': [
      [OCTETS, 'order.pdf', prefixed('\r\n'), 'application/pdf'],
      [OCTETS, null, prefixed('\u001b%-12345X@PJL\r\n'), 'application/pdf'],
      ['application/x-pdf', null, prefixed('\0'.repeat(128)), 'application/pdf'],
      ['document/pdf', 'order', prefixed(' '.repeat(1_019)), 'application/pdf'],
      ['text/plain', 'order.pdf', prefixed('\r\n'), 'application/pdf'],
      ['document/pdf', 'order', prefixed(' '.repeat(1_020)), OCTETS],
      ['text/plain', null, prefixed('The header '), 'text/plain'],
      ['text/plain', 'notes.txt', prefixed('The header '), 'text/plain'],
      [OCTETS, 'notes.txt', prefixed('The header '), 'text/plain'],
      [OCTETS, 'order.pdf.p7m', SIGNED_PDF, 'application/pkcs7-mime'],
      ['application/pkcs7-mime', 'order.pdf', SIGNED_PDF, 'application/pkcs7-mime'],
      ['application/pkcs7-mime', null, SIGNED_PDF, 'application/pkcs7-mime'],
      [OCTETS, null, zipEntry('order.pdf', PDF.toString('latin1')), 'application/zip'],
    ],
    'bytes are no PDF': [
      ['application/pdf', 'order.pdf', TEXT, 'application/pdf'],
      ['application/pdf', 'order.pdf', NO_BYTES, 'application/pdf'],
      ['application/pdf', null, PNG, 'image/png'],
      ['application/x-pdf', 'order.csv', TEXT, 'text/csv'],
      ['document/pdf', 'photo.jpg', JPEG, 'image/jpeg'],
      ['application/x-bzpdf', 'order.pdf.gz', GZIP, 'application/gzip'],
      ['application/x-pdf', null, TEXT, 'application/x-pdf'],
      ['document/pdf', null, TEXT, OCTETS],
    ],
    'the sender uses a nickname': [
      ['application/excel', 'order.xls', COMPOUND, XLS],
      ['application/x-excel', 'order.xlsx', ZIP, XLSX],
      ['application/x-msexcel', 'order.csv', TEXT, 'text/csv'],
      ['application/x-msexcel', 'order.xls', TEXT, XLS],
      ['application/msexcel', null, WORKBOOK, XLSX],
      ['application/excel', null, NO_BYTES, XLS],
      ['application/x-msword', 'order.docx', ZIP, DOCX],
      ['application/word', 'order.doc', COMPOUND, 'application/msword'],
      ['application/xlsx', 'order.xlsx', ZIP, XLSX],
      ['application/x-zip-compressed', 'orders.zip', ZIP, 'application/zip'],
      ['application/x-zip-compressed', 'order.csv', TEXT, 'text/csv'],
      ['application/x-zip-compressed', null, TEXT, 'application/x-zip-compressed'],
      ['application/x-gzip', 'orders.gz', GZIP, 'application/gzip'],
      ['application/x-rar-compressed', 'orders.rar', RAR, 'application/vnd.rar'],
      ['text/comma-separated-values', 'order.csv', TEXT, 'text/csv'],
      ['text/comma-separated-values', 'order.txt', TEXT, 'text/csv'],
      ['application/csv', 'order.xlsx', ZIP, XLSX],
      ['text/x-csv', 'order.csv', UTF16, 'text/csv'],
      ['text/x-xml', 'order.xml', XML, 'text/xml'],
      ['image/jpg', 'photo.jpg', JPEG, 'image/jpeg'],
      ['image/pjpeg', null, JPEG, 'image/jpeg'],
      ['image/pjpeg', 'logo.png', PNG, 'image/png'],
      ['image/x-png', null, NO_BYTES, 'image/png'],
    ],
    'the bytes contradict the sender, and the name agrees with them': [
      [XLS, 'order.xlsx', ZIP, XLSX],
      [XLS, 'order.csv', TEXT, 'text/csv'],
      [XLS, null, WORKBOOK, XLSX],
      ['application/msword', 'order.docx', ZIP, DOCX],
      ['application/pdf', 'order.xlsx', ZIP, XLSX],
      ['application/pdf', 'order.txt', TEXT, 'text/plain'],
      ['image/jpeg', 'logo.png', PNG, 'image/png'],
      ['text/plain', 'order.xlsx', ZIP, XLSX],
      ['text/plain', 'order.xls', COMPOUND, XLS],
      ['text/plain', 'part.dwg', DWG, 'image/vnd.dwg'],
      ['text/plain', null, JPEG, 'image/jpeg'],
    ],
    'only one of name and bytes is against the sender': [
      ['application/pdf', 'order.pdf', PDF, 'application/pdf'],
      ['application/zip', 'order.xlsx', ZIP, 'application/zip'],
      ['application/zip', 'orders.zip', WORKBOOK, 'application/zip'],
      [XLS, 'order.xls', ZIP, XLS],
      [XLS, 'order.xls', TEXT, XLS],
      [XLS, 'order.xlsx', NO_BYTES, XLS],
      [XLSX, 'order.xlsx', COMPOUND, XLSX],
      ['text/plain', 'order.pdf', TEXT, 'text/plain'],
      ['text/plain', 'order.csv', TEXT, 'text/plain'],
      ['text/plain', 'order.xml', XML, 'text/plain'],
      ['text/plain', 'notes.txt', PDF, 'text/plain'],
      ['text/xml', 'order.xml', XML, 'text/xml'],
      ['text/csv', 'order.csv', UTF16, 'text/csv'],
      ['text/html', 'order.xls', TEXT, 'text/html'],
      ['application/postscript', 'label.ai', PDF, 'application/postscript'],
      ['image/vnd.dwg', 'part.dwg', DWG, 'image/vnd.dwg'],
      ['image/svg+xml', 'logo.svg', XML, 'image/svg+xml'],
      ['application/pkcs7-mime', 'order.csv', TEXT, 'application/pkcs7-mime'],
      ['message/rfc822', 'order.eml', TEXT, 'message/rfc822'],
      ['application/vnd.acme.order', 'order.zip', ZIP, 'application/vnd.acme.order'],
    ],
    'a ZIP shows that it is a file of Office': [
      ['application/zip', 'order.xlsx', WORKBOOK, XLSX],
      ['application/x-zip-compressed', null, WORKBOOK, XLSX],
    ],
  })) {
    describe(`when ${kind}`, () => {
      for (const [declared, fileName, bytes, effective] of cases as readonly (readonly [
        string | null,
        string | null,
        Buffer,
        string,
      ])[]) {
        it(`is ${effective} for ${declared} named ${fileName?.slice(-40)}, ${bytes.length} bytes`, async () => {
          assert.equal(await effectiveMediaType(declared, fileName, bytes), effective);
        });
      }
    });
  }
});

describe('the extension of a made-up name', () => {
  for (const [mediaType, extension] of [
    ['application/pdf', '.pdf'],
    [XLSX, '.xlsx'],
    [XLS, '.xls'],
    ['text/csv', '.csv'],
    ['text/plain', '.txt'],
    ['image/jpeg', '.jpg'],
    ['image/pjpeg', '.jpg'],
    ['application/x-zip-compressed', '.zip'],
    ['message/rfc822', '.eml'],
    ['message/global', '.eml'],
    ['application/ms-tnef', '.tnef'],
    ['application/edifact', '.edi'],
    ['application/octet-stream', ''],
    ['application/vnd.acme.order', ''],
    ['multipart/mixed', ''],
  ] as const) {
    it(`is ${JSON.stringify(extension)} for ${mediaType}`, () => {
      assert.equal(mediaTypeExtension(mediaType), extension);
    });
  }
});
