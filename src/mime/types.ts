/**
 * What the MIME part engine says of a mail, in the order of its bytes. This folder imports nothing else of ours.
 *
 * A leaf part is announced with `part-begin`, its decoded bytes follow as `part-data` (any number, also none), and
 * `part-end` closes it. A `message/rfc822` (or message/global) part is a leaf whose bytes are kept whole, and is looked
 * into as well: its own leaves have paths below its path and may begin before it ends. A multipart is announced with
 * `multipart-begin` / `multipart-end` and carries no bytes.
 */
export type MailEvent =
  | { readonly type: 'header'; readonly header: MailHeader }
  | { readonly type: 'multipart-begin'; readonly path: string; readonly header: PartHeader }
  | {
      readonly type: 'multipart-end';
      readonly path: string;
      readonly defects: readonly Defect[];
      /** It had no part, and nothing but white space where parts belong. */
      readonly blank: boolean;
    }
  | { readonly type: 'part-begin'; readonly part: PartBegin }
  /** Owns: the bytes belong to the consumer until it asks for the next event; copy to keep. */
  | { readonly type: 'part-data'; readonly path: string; readonly bytes: Uint8Array }
  | {
      readonly type: 'part-end';
      readonly path: string;
      readonly defects: readonly Defect[];
      readonly sizeBytes: number;
    }
  /** A named limit was reached: no further event but `end` follows; parts ended before it are good. */
  | { readonly type: 'limit'; readonly limit: keyof MimeLimits; readonly value: number }
  | { readonly type: 'end'; readonly defects: readonly Defect[] };

export interface PartBegin {
  /** `1`, `2.1` …: position below each multipart, from 1; the body of a mail without multipart is `1`; see docs/mime.md. */
  readonly path: string;
  readonly header: PartHeader;
  /** Media type of the innermost enclosing multipart, null at the root (of the mail, or of a message inside it). */
  readonly parentMediaType: string | null;
  /** Media types of all multiparts around it within its own message, outermost first; the last is `parentMediaType`. */
  readonly enclosing: readonly string[];
  /** What its own message begins its paths with: `''` for the mail itself, `3.m` for a message that is part 3. */
  readonly messagePath: string;
}

/** The decoded header of a part; nothing in it is cleaned for a file system. */
export interface PartHeader {
  /** Lower case, `type/subtype`; `text/plain` (or `message/rfc822` in a digest) when absent. */
  readonly mediaType: string;
  /** As declared, lower case; null when the field is absent or nonsense. */
  readonly declaredMediaType: string | null;
  readonly charset: string | null;
  /** Lower case; null when the field is absent or nonsense. */
  readonly disposition: string | null;
  /** The name as sent, decoded (RFC 2231, RFC 2047, raw 8-bit); null when there is none. */
  readonly fileName: string | null;
  /** Lower case; `7bit` when absent. */
  readonly transferEncoding: string;
  /** Without angle brackets. */
  readonly contentId: string | null;
  readonly contentLocation: string | null;
}

/** The header block of the mail itself, decoded. */
export interface MailHeader {
  /** First non-empty Message-ID field, white space around and folding removed; null when there is none. */
  readonly messageId: string | null;
  /** Decoded (RFC 2047), unfolded; null when absent. */
  readonly subject: string | null;
  readonly from: readonly MailAddress[];
  readonly to: readonly MailAddress[];
  readonly cc: readonly MailAddress[];
  readonly date: Date | null;
  /** The fields as text, unfolded, for records and synthetic ids; null when absent. */
  readonly raw: {
    readonly from: string | null;
    readonly to: string | null;
    readonly subject: string | null;
    readonly date: string | null;
  };
  readonly defects: readonly Defect[];
}

export interface MailAddress {
  readonly name: string | null;
  readonly address: string;
}

/** Something odd that was read as well as it goes. `code` is a closed list in `docs/mime.md`. */
export interface Defect {
  readonly code: DefectCode;
  readonly message: string;
}

export type DefectCode =
  | 'header-line-malformed'
  | 'header-line-joined'
  | 'header-continuation-unindented'
  | 'header-late'
  | 'header-indented'
  | 'field-repeated'
  | 'parameter-malformed'
  | 'file-name-damaged'
  | 'encoded-word-malformed'
  | 'encoded-word-cut'
  | 'charset-unknown'
  | 'charset-bytes-invalid'
  | 'charset-undeclared'
  | 'address-malformed'
  | 'date-malformed'
  | 'content-type-malformed'
  | 'transfer-encoding-unknown'
  | 'encoding-inherited'
  | 'encoding-undeclared'
  | 'encoding-untrue'
  | 'boundary-missing'
  | 'boundary-never-appears'
  | 'boundary-guessed'
  | 'multipart-guessed'
  | 'multipart-is-file'
  | 'multipart-encoded'
  | 'multipart-not-closed'
  | 'delimiter-glued'
  | 'delimiter-indented'
  | 'base64-junk'
  | 'base64-after-padding'
  | 'base64-in-pieces'
  | 'base64-cut'
  | 'base64-url-alphabet'
  | 'base64-data-url'
  | 'quoted-printable-malformed'
  | 'quoted-printable-trailing-space'
  | 'uuencode-malformed'
  | 'uuencode-without-begin'
  | 'uuencode-without-end';

/** Every bound of the engine. Units: bytes where the name says so, else a count. */
export interface MimeLimits {
  /** All header fields of one part or of the mail. */
  readonly maxHeaderBlockBytes: number;
  readonly maxHeaderFieldBytes: number;
  readonly maxHeaderFields: number;
  /** Leaves and multiparts together. */
  readonly maxParts: number;
  /** Entities above a part, messages and multiparts together. */
  readonly maxDepth: number;
  /** Messages inside messages: each level shows the same bytes once more. */
  readonly maxMessageDepth: number;
  /** Of one header field. */
  readonly maxParameters: number;
  /** RFC 2046 allows 70; real mails have more. */
  readonly maxBoundaryBytes: number;
}
