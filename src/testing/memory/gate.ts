/** What stands between an adapter in memory and the world it keeps: the network, as it were. */

export type Peer = 'database' | 'store' | 'queue';

/**
 * One question to a peer and its answer. `effect` is what the peer does: at once, whole, and at most once.
 * Errors: those of `effect`; `LinkError` when the question or its answer got lost.
 */
export interface Gate {
  run<T>(peer: Peer, operation: string, effect: () => T): Promise<T>;
}

/** Nothing ever gets lost. */
export const openGate: Gate = { run: async (_peer, _operation, effect) => effect() };

/** `sent`: whether the peer has done it is not known. Otherwise it never heard of it. */
export class LinkError extends Error {
  override readonly name = 'LinkError';
  readonly sent: boolean;
  constructor(sent: boolean, message: string) {
    super(message);
    this.sent = sent;
  }
}
