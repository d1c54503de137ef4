/** Mails as they stand behind DATA, with what servers have taken for their end. */
import type { Random } from '../../scripts/mail-mutations.ts';

/** Only CRLF . CRLF ends one; each of the others has smuggled a mail through somebody's server. */
// biome-ignore format: a list
const pieces: readonly string[] = [
  'Subject: x\r\n', '\r\n', 'hello\r\n', 'hello', '..\r\n', '...\r\n', '..x\r\n', '.x\r\n', '.\r', '.\n', '\n.\n', '\n.\r\n', '\r\n.\n',
  '\r.\r', '\r.\r\n', '\r\n.\r', '\r\n.\0\r\n', '\r\n. \r\n', '\r\r\n', '\n', '\r', '\0', '\xff\xfe', '\x80', 'x'.repeat(998), 'x'.repeat(1_200),
  'MAIL FROM:<evil@x.example>\r\n', 'RCPT TO:<c@d.example>\r\n', 'DATA\r\n', 'QUIT\r\n', 'BDAT 5 LAST\r\n', '\n..\n', '\r\n..\r\n', '.', '..',
];

export function randomBody(random: Random): string {
  const count = random.integer(random.integer(4) === 0 ? 60 : 12);
  let body = '';
  for (let index = 0; index < count; index++) body += random.pick(pieces);
  // Now and then the end of a mail within, and what follows are commands.
  return random.integer(40) === 0 ? `${body}\r\n.\r\n${random.pick(pieces)}` : body;
}
