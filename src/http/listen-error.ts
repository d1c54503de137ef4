/** The HTTP server cannot listen; the message is one line for the operator and names the setting to change. */
export class ListenError extends Error {
  constructor(message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'ListenError';
  }
}

export function listenError(error: unknown, address: { host: string; port: number }): unknown {
  const where = `${address.host}:${address.port}`;
  const reasons: Readonly<Record<string, string>> = {
    EADDRINUSE: `HTTP_PORT: ${where} is taken by another program (or this server runs already); choose a free HTTP_PORT`,
    EACCES: `HTTP_PORT: no permission to listen on ${where}; choose an HTTP_PORT of 1024 or more`,
    EADDRNOTAVAIL: `HTTP_HOST: ${address.host} is not an address of this machine; choose 127.0.0.1, 0.0.0.0 or one that is`,
    ENOTFOUND: `HTTP_HOST: the name ${address.host} cannot be resolved; choose 127.0.0.1, 0.0.0.0 or a name that can`,
  };
  const reason = reasons[(error as NodeJS.ErrnoException).code ?? ''];
  return reason === undefined ? error : new ListenError(reason, { cause: error });
}
