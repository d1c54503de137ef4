/**
 * Holds what is in the database and in the object store to what the clients were told. Looks only at tables and files,
 * through none of the product's code.
 */
import { type AuditedPlaces, type Facts, readFacts, type StoredFile } from './audited-facts.ts';
import { type Attempt, acknowledgedIds, type Entry, isAcknowledgement, type Ledger } from './ledger.ts';
import { type OrderMail, sha256 } from './order-mail.ts';

export type AuditOptions = AuditedPlaces & {
  readonly ledger: Ledger;
  /**
   * A store that was away, or another one, when a duplicate's object was to be removed still has it: an object without a row
   * is explained by every try but one, also of those that were told 250. Default: false.
   */
  readonly duplicatesMayStay?: boolean;
};

export interface AuditReport {
  readonly acknowledged: number;
  readonly messages: number;
  readonly conflicts: number;
  readonly documents: number;
  readonly extractDocumentJobs: number;
  /** Every broken promise, in words. */
  readonly problems: readonly string[];
  /** Raw mails without a row, each of a try that was never told 250; any other is a problem. */
  readonly orphans: readonly string[];
  /** Unfinished files. */
  readonly leftovers: readonly string[];
}

/** Waits until no extraction is waiting, then looks at everything. */
export async function audit(o: AuditOptions): Promise<AuditReport> {
  const { facts, waiting } = await readFacts(o);
  return judge(o, facts, waiting);
}

/** A line or two for a person. */
export function inWords(report: AuditReport): string {
  const { acknowledged, messages, conflicts, documents, extractDocumentJobs, orphans, leftovers } = report;
  return (
    `${acknowledged} mails acknowledged; ${messages} messages, ${conflicts} conflicts, ${documents} documents, ` +
    `${extractDocumentJobs} jobs; ${orphans.length} raw mails without a row, ${leftovers.length} unfinished files`
  );
}

function judge(
  { ledger, duplicatesMayStay = false }: AuditOptions,
  facts: Facts,
  waiting: readonly string[],
): AuditReport {
  const problems = [
    ...(waiting.length > 0 ? [`${waiting.length} jobs do not come to their end, such as: ${waiting[0]}`] : []),
    ...acknowledgedAreKept(ledger, facts),
    ...nothingIsDoubled(ledger, facts),
    ...rowsHaveTheirObjects(facts),
    ...documentsAreWhole(ledger, facts),
    ...jobsMatchDocuments(facts),
  ];
  const orphans = judgeOrphans(ledger, facts, duplicatesMayStay);
  return {
    acknowledged: ledger.acknowledged().length,
    messages: facts.messages.length,
    conflicts: facts.conflicts.length,
    documents: facts.documents.length,
    extractDocumentJobs: facts.jobs.length,
    problems: [...problems, ...orphans.problems],
    orphans: orphans.explained,
    leftovers: facts.leftovers,
  };
}

/** Whoever was told 250 with an id finds the bytes that were sent under that id, in every organisation addressed. */
function acknowledgedAreKept({ entries }: Ledger, { messages, conflicts }: Facts): string[] {
  const problems: string[] = [];
  const kept = new Map([...conflicts, ...messages].map((row) => [row.id, row]));
  for (const { mail, attempts } of entries) {
    const told = attempts.filter(isAcknowledgement).map((attempt) => acknowledgedIds(attempt).toSorted().join(' '));
    if (told.length === 0) continue;
    if (new Set(told).size > 1)
      problems.push(`${mail.messageId} was acknowledged under different ids: ${told.join(', ')}`);
    const ids = told[0]?.split(' ') ?? [];
    const slugs = ids.map((id) => kept.get(id)?.slug);
    for (const slug of mail.slugs)
      if (!slugs.includes(slug)) problems.push(`LOST: ${mail.messageId} for ${slug} was told 250 ${ids.join(' ')}`);
    if (ids.length !== mail.slugs.length)
      problems.push(`${mail.messageId}: ${ids.length} ids for ${mail.slugs.length} organisations`);
    for (const id of ids) {
      const row = kept.get(id);
      if (row === undefined) continue;
      if (
        row.source_message_id !== mail.messageId ||
        row.raw_sha256 !== mail.rawSha256 ||
        Number(row.size_bytes) !== mail.raw.length
      )
        problems.push(`${mail.messageId}: the row ${id} is of another mail`);
    }
  }
  return problems;
}

/** One row for each organisation and Message-ID, one conflict for each further content; none that nobody sent. */
function nothingIsDoubled({ entries }: Ledger, { messages, conflicts }: Facts): string[] {
  const problems: string[] = [];
  const sent = new Map<string, Set<string>>();
  for (const { mail } of entries) for (const slug of mail.slugs) put(sent, `${slug} ${mail.messageId}`, mail.rawSha256);
  const rows = new Map<string, Set<string>>();
  const seen = new Set<string>();
  for (const row of messages) {
    const name = `${row.slug} ${row.source_message_id}`;
    if (seen.has(name)) problems.push(`DOUBLED: two messages for ${name}`);
    seen.add(name);
    put(rows, name, row.raw_sha256);
  }
  for (const row of conflicts) {
    const name = `${row.slug} ${row.source_message_id}`;
    if (rows.get(name)?.has(row.raw_sha256)) problems.push(`DOUBLED: ${name} is a conflict with itself`);
    put(rows, name, row.raw_sha256);
  }
  for (const [name, contents] of rows)
    for (const content of contents) if (!sent.get(name)?.has(content)) problems.push(`a row that nobody sent: ${name}`);
  return problems;
}

function put(map: Map<string, Set<string>>, key: string, value: string): void {
  map.set(key, (map.get(key) ?? new Set()).add(value));
}

function rowsHaveTheirObjects({ messages, conflicts, documents, files }: Facts): string[] {
  const problems: string[] = [];
  const check = (
    what: string,
    row: { org_id: string; storage_key: string; sha256: string; size_bytes: string },
  ): void => {
    const file = files.get(row.storage_key);
    if (!row.storage_key.startsWith(`${row.org_id}/`)) problems.push(`${what} has an object of another organisation`);
    if (file === undefined) problems.push(`LOST: ${what} has no object ${row.storage_key}`);
    else if (file.sha256 !== row.sha256 || file.sizeBytes !== Number(row.size_bytes))
      problems.push(`LOST: the object of ${what} is damaged`);
  };
  for (const row of [...messages, ...conflicts])
    check(`the mail ${row.id} ${row.source_message_id}`, {
      ...row,
      storage_key: row.raw_storage_key,
      sha256: row.raw_sha256,
    });
  for (const row of documents) check(`the document ${row.id}`, row);
  const keys = [...messages, ...conflicts]
    .map((row) => row.raw_storage_key)
    .concat(documents.map((row) => row.storage_key));
  if (new Set(keys).size !== keys.length) problems.push('two rows share an object');
  return problems;
}

/** Every message is PARSED, and its documents are exactly the attachments of the mail that was sent. */
function documentsAreWhole({ entries }: Ledger, { messages, documents }: Facts): string[] {
  const problems: string[] = [];
  const mails = new Map<string, OrderMail>(entries.map(({ mail }) => [mail.rawSha256, mail]));
  const byMessage = Map.groupBy(documents, (row) => row.inbound_message_id);
  for (const message of messages) {
    const name = `${message.slug} ${message.source_message_id}`;
    if (message.status !== 'PARSED')
      problems.push(`${name} is ${message.status} (${message.reason ?? 'no reason'}), not PARSED`);
    const wanted =
      mails
        .get(message.raw_sha256)
        ?.attachments.map((one) => `${one.fileName} ${one.sizeBytes} ${one.sha256} STORED`) ?? [];
    const found = (byMessage.get(message.id) ?? []).map(
      (row) => `${row.file_name} ${row.size_bytes} ${row.sha256} ${row.status}`,
    );
    if (wanted.toSorted().join('\n') !== found.toSorted().join('\n'))
      problems.push(`${name}: ${found.length} documents are not its ${wanted.length} attachments`);
    for (const row of byMessage.get(message.id) ?? [])
      if (row.org_id !== message.org_id) problems.push(`${name}: a document of another organisation`);
  }
  return problems;
}

/** Nobody takes jobs of the next stage here, so that each waits to be counted. */
function jobsMatchDocuments({ documents, jobs, messages }: Facts): string[] {
  const problems: string[] = [];
  const traces = new Map(messages.map((row) => [row.id, row.trace_id]));
  const byDocument = Map.groupBy(jobs, (job) => job.document_id);
  for (const row of documents) {
    const its = byDocument.get(row.id) ?? [];
    const wanted = row.status === 'STORED' ? 1 : 0;
    if (its.length !== wanted) problems.push(`the document ${row.id} has ${its.length} jobs, not ${wanted}`);
    for (const job of its)
      if (job.org_id !== row.org_id || job.trace_id !== traces.get(row.inbound_message_id))
        problems.push(`the job of ${row.id} is of another mail`);
    byDocument.delete(row.id);
  }
  for (const id of byDocument.keys()) problems.push(`a job for a document that is not there: ${id}`);
  return problems;
}

/** An object without a row is right only for a try whose client heard no 250, one for each such try. */
/** A small mail is written under its own name: a kill may leave its name with none, or not all, of its bytes. */
function isBeginning({ sizeBytes, messageId, sha256: digest }: StoredFile, mail: OrderMail): boolean {
  return messageId !== null && sha256(mail.raw.subarray(0, sizeBytes)) === digest;
}

function judgeOrphans(
  { entries }: Ledger,
  { messages, conflicts, documents, files }: Facts,
  duplicatesMayStay: boolean,
): { explained: string[]; problems: string[] } {
  const owned = new Set(
    [...messages, ...conflicts].map((row) => row.raw_storage_key).concat(documents.map((row) => row.storage_key)),
  );
  const mails = new Map<string, Entry>(entries.map((entry) => [entry.mail.rawSha256, entry]));
  const credit = new Map<string, number>();
  for (const { mail, attempts } of entries) {
    const first = attempts.find(isAcknowledgement);
    const leaves = (attempt: Attempt): boolean =>
      attempt.dataSentAt !== null && (duplicatesMayStay ? attempt !== first : !isAcknowledgement(attempt));
    credit.set(mail.rawSha256, attempts.filter(leaves).length * mail.slugs.length);
  }
  const left = ({ mail }: Entry): number => credit.get(mail.rawSha256) ?? 0;
  const explained: string[] = [];
  const problems: string[] = [];
  const nobodys = [...files].filter(([key]) => !owned.has(key));
  // Whole ones first: the beginning of one mail is that of others, too, and may be put down to any of them.
  const wholeFirst = nobodys.toSorted(([, a], [, b]) => Number(mails.has(b.sha256)) - Number(mails.has(a.sha256)));
  for (const [key, file] of wholeFirst) {
    const entry = mails.get(file.sha256) ?? entries.find((one) => left(one) > 0 && isBeginning(file, one.mail));
    const leftOver = entry === undefined ? 0 : left(entry);
    if (entry !== undefined) credit.set(entry.mail.rawSha256, leftOver - 1);
    if (file.messageId === null) problems.push(`a document's object without a document: ${key}`);
    else if (entry === undefined) problems.push(`an object of a mail that never came whole: ${key}`);
    else if (leftOver <= 0)
      problems.push(`an object without a row, of a mail whose every try was told 250: ${key} ${file.messageId}`);
    else explained.push(`${key} ${file.messageId}`);
  }
  return { explained, problems };
}
