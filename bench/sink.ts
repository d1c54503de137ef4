/**
 * A server that says yes and keeps nothing: what the generator reaches against it is the generator's own ceiling.
 * Prints its port on stdout; ends when its stdin does.
 */
import { type AddressInfo, createServer, type Socket } from 'node:net';

const END_OF_MAIL = Buffer.from('\r\n.\r\n');

function serve(socket: Socket): void {
  let inMail = false;
  let tail: Buffer = Buffer.alloc(0);
  socket.on('error', () => socket.destroy());
  socket.on('data', (bytes: Buffer) => {
    if (inMail) {
      // The mails of the bench end in a packet's last bytes; no need to look for the dot elsewhere.
      tail = bytes.length >= END_OF_MAIL.length ? bytes.subarray(-5) : Buffer.concat([tail, bytes]).subarray(-5);
      if (!tail.equals(END_OF_MAIL)) return;
      inMail = false;
      socket.write('250 2.0.0 gone\r\n');
      return;
    }
    const verb = bytes.toString('latin1', 0, 4).toUpperCase();
    if (verb === 'DATA') {
      inMail = true;
      tail = Buffer.alloc(0);
      socket.write('354 go on\r\n');
    } else if (verb === 'QUIT') socket.end('221 2.0.0 bye\r\n');
    else socket.write('250 2.0.0 yes\r\n');
  });
  socket.write('220 sink.example ESMTP\r\n');
}

const server = createServer({ noDelay: true }, serve);
server.listen(0, '127.0.0.1', () => process.stdout.write(`${(server.address() as AddressInfo).port}\n`));
process.stdin.resume().on('close', () => process.exit());
