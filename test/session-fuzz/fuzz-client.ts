/** Says a dialogue over a real socket, and tells the model what was said and what came. */
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { setImmediate as turn } from 'node:timers/promises';
import { connect as tlsConnect } from 'node:tls';
import type { Dialogue, Step } from './dialogue.ts';
import type { SessionModel } from './session-model.ts';

/** Much longer than any answer takes here, also on a machine that is busy. */
const deadlineMs = 30_000;

export interface ClientOptions {
  readonly port: number;
  readonly dialogue: Dialogue;
  readonly model: SessionModel;
  /** Called behind every write. */
  readonly look: () => void;
  /** This process stood still for so long that deadlines of the server may have passed that the client kept. */
  readonly stalled: () => boolean;
}

export class FuzzClient {
  /** It went without waiting for what was due, or sent so much that it could not have it. */
  left = false;
  /** `address port` */
  ownAddress = '';
  private readonly options: ClientOptions;
  private socket: Socket;
  private closed = false;
  private problem: Error | null = null;
  private wake = (): void => {};

  constructor(options: ClientOptions) {
    this.options = options;
    this.socket = connect({ port: options.port, host: '127.0.0.1', noDelay: true });
  }

  /** Resolves when the connection is closed. Errors: what the model forbids; silence. */
  async hold(): Promise<void> {
    const { dialogue, model } = this.options;
    this.listen();
    await once(this.socket, 'connect');
    this.ownAddress = `127.0.0.1 ${this.socket.localPort}`;
    if (dialogue.deaf) this.socket.pause();
    if (dialogue.proxy !== null) this.socket.write(dialogue.proxy.bytes, 'latin1');
    if (dialogue.waitsForGreeting && !dialogue.deaf) await this.answered();
    for (const step of dialogue.steps) {
      if (this.closed || model.over) break;
      if (model.handshaking && !(await this.secure())) break;
      await this.say(step);
    }
    this.socket.resume();
    await this.finish();
  }

  /** Opens a connection whose PROXY header is no good, and expects not a byte. */
  async holdRefused(): Promise<void> {
    const { dialogue } = this.options;
    this.listen();
    await once(this.socket, 'connect');
    this.socket.write(dialogue.proxy?.bytes ?? '', 'latin1');
    if (dialogue.proxy?.verdict === 'unfinished') {
      await turn();
      this.socket.end();
    }
    await this.until('the end of a refused connection', () => this.closed);
  }

  private async say({ send, wait, cuts }: Step): Promise<void> {
    let from = 0;
    for (const cut of [...cuts, send.length]) {
      if (cut <= from || this.closed) continue;
      if (from > 0) await turn();
      this.write(send.slice(from, cut));
      from = cut;
    }
    if (wait && !this.options.dialogue.deaf) await this.answered();
  }

  private write(bytes: string): void {
    const { model, look } = this.options;
    if (this.closed || !this.socket.writable || bytes === '') return;
    model.sent(bytes);
    this.socket.write(bytes, 'latin1');
    look();
  }

  private async finish(): Promise<void> {
    const { dialogue, model } = this.options;
    if (dialogue.ending === 'leave') {
      await turn();
      this.left = true;
      this.socket.destroy();
    } else {
      await this.answered();
      if (model.handshaking) await this.secure();
      if (dialogue.ending === 'quit') this.write('QUIT\r\n');
      await this.answered();
      if (!model.over) {
        model.ended();
        this.socket.end();
      }
    }
    await this.until('the end of the session', () => this.closed);
    this.left ||= model.flooded || this.options.stalled();
    if (!this.left) model.closed();
  }

  /** Resolves to whether the session goes on. */
  private async secure(): Promise<boolean> {
    const { dialogue, model } = this.options;
    const plain = this.socket;
    if (dialogue.tls === 'leave') plain.destroy();
    if (dialogue.tls === 'garbage') plain.end('EHLO evil.example\r\nMAIL FROM:<evil@x.example>\r\n');
    if (dialogue.tls !== 'handshake') return false;
    plain.removeAllListeners('data');
    const socket = tlsConnect({ socket: plain, rejectUnauthorized: false });
    socket.on('error', () => {});
    let secured = false;
    socket.once('secureConnect', () => {
      secured = true;
      model.encrypted();
      this.socket = socket;
      this.listen();
      this.wake();
    });
    await this.until('the TLS handshake', () => secured || this.closed);
    return secured && !this.closed;
  }

  private listen(): void {
    const { socket } = this;
    socket.setEncoding('latin1');
    socket.on('data', (bytes: string) => {
      try {
        if (this.options.dialogue.proxy?.verdict === 'refused')
          throw new Error(`a word to a refused balancer: ${bytes}`);
        this.options.model.received(bytes);
      } catch (error) {
        this.problem ??= error as Error;
      }
      this.wake();
    });
    socket.on('error', () => {});
    socket.on('close', () => {
      this.closed = true;
      this.wake();
    });
  }

  private answered(): Promise<void> {
    const { model } = this.options;
    return this.until(`a reply to ${model.waitsFor}`, () => !model.awaiting || this.closed);
  }

  private async until(what: string, holds: () => boolean): Promise<void> {
    const deadline = performance.now() + deadlineMs;
    while (this.problem === null && !holds()) {
      const leftMs = deadline - performance.now();
      if (leftMs <= 0)
        this.problem = new Error(`no ${what} within ${deadlineMs} ms; awaited is ${this.options.model.waitsFor}`);
      let timer: NodeJS.Timeout | undefined;
      await new Promise<void>((resolve) => {
        this.wake = resolve;
        timer = setTimeout(resolve, Math.max(0, leftMs));
      });
      clearTimeout(timer);
    }
    if (this.problem === null) return;
    this.socket.destroy();
    throw this.problem;
  }
}
