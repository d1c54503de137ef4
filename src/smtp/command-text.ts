/**
 * The command line that is answered now, as text for a log that tells which command was refused. Never a credential and
 * never a line of a mail: those must not reach a log.
 */
import { isUtf8 } from 'node:buffer';

/** A mechanism that nobody knows may be a password that somebody typed. */
const authCommand =
  /^[ \t]*AUTH(?:[ \t]+(?:PLAIN|LOGIN|CRAM-MD5|DIGEST-MD5|NTLM|GSSAPI|XOAUTH2|OAUTHBEARER|SCRAM-SHA-(?:1|256)))?(?![\w-])/i;

/** A client that ignores our refusal of AUTH sends user name and password next, each as a line of its own. */
const withheld = '(withheld: it may be a password)';

export class CommandText {
  /** One character for each octet. */
  private line: string | null = null;
  private credentialsMayFollow = false;

  /** Called for each line, before it is answered. Shape: latin1; null for a line that is not to be shown. */
  begin(line: string | null): void {
    this.line = line;
  }

  /** A command that we know: what follows it is no answer to AUTH. */
  known(): void {
    this.credentialsMayFollow = false;
  }

  /** For a refusal. null when no line was kept. */
  refused(): string | null {
    const { line } = this;
    if (line === null) return null;
    const auth = authCommand.exec(line);
    if (auth !== null) {
      this.credentialsMayFollow = true;
      return auth[0].length === line.trimEnd().length ? auth[0] : `${auth[0]} ${withheld}`;
    }
    return this.credentialsMayFollow ? withheld : decode(line);
  }
}

function decode(line: string): string {
  const bytes = Buffer.from(line, 'latin1');
  return isUtf8(bytes) ? bytes.toString('utf8') : line;
}
