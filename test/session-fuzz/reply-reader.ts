/** Cuts what a server sends into replies, and holds each line to its form. Spec: RFC 5321 §4.2, §4.5.3.1.5 */

export interface Reply {
  readonly code: number;
  readonly lines: readonly string[];
}

export class ReplyReader {
  private rest = '';
  private lines: string[] = [];
  private code = 0;

  /** Bytes of a line that has not ended. */
  get unfinished(): string {
    return this.lines.join('') + this.rest;
  }

  /** One character for each octet. Errors: a line that is no reply line. */
  push(bytes: string): Reply[] {
    this.rest += bytes;
    const replies: Reply[] = [];
    for (let end = this.rest.indexOf('\n'); end !== -1; end = this.rest.indexOf('\n')) {
      const line = this.rest.slice(0, end + 1);
      this.rest = this.rest.slice(end + 1);
      const reply = this.take(line);
      if (reply !== null) replies.push(reply);
    }
    if (this.rest.length > 512) throw new Error(`a reply line has no end: ${JSON.stringify(this.rest.slice(0, 80))}…`);
    return replies;
  }

  private take(line: string): Reply | null {
    if (!line.endsWith('\r\n')) throw new Error(`a reply line ends with a bare LF: ${JSON.stringify(line)}`);
    if (line.length > 512) throw new Error(`a reply line has ${line.length} octets: ${JSON.stringify(line)}`);
    const found = /^([2-5]\d\d)([ -])[\x20-\x7e]*\r\n$/.exec(line);
    if (found === null) throw new Error(`no reply line: ${JSON.stringify(line)}`);
    const code = Number(found[1]);
    if (this.lines.length > 0 && code !== this.code) throw new Error(`two codes in a reply: ${JSON.stringify(line)}`);
    this.code = code;
    this.lines.push(line.slice(4, -2));
    if (found[2] === '-') return null;
    const reply = { code, lines: this.lines };
    this.lines = [];
    return reply;
  }
}
