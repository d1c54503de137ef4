/** The login of `DATABASE_URL`, read again from its file when PostgreSQL refuses it. */

import pg from 'pg';
import { type ConnectionUrl, type RenewableUrl, renewable } from '../../ports/renewable-url.ts';
import { readSecretFile, SecretFileError } from '../../ports/secret-file.ts';
import type { Log } from '../../telemetry/log.ts';

export interface LoginFile {
  readonly file: string;
  /** The whole URL, of which user name and password count; or the password alone. */
  readonly holds: 'url' | 'password';
}

/**
 * `url` as it stands at the start. Of the file only the login is taken later on: an address that changes is another
 * database, and that takes a restart.
 * As long as the login in use is good nobody looks at the file, which may be ahead of the server.
 */
export function openLogin(o: {
  readonly url: string;
  readonly secret: LoginFile | null;
  readonly log: Log;
}): ConnectionUrl {
  const { secret, log } = o;
  return secret === null ? o.url : createRenewableUrl(o.url, secret, log);
}

function createRenewableUrl(first: string, { file, holds }: LoginFile, log: Log): RenewableUrl {
  let current = first;
  /** Why the file could not be read the last time: only a change is worth a line. */
  let told: string | null = null;
  /** Shape: whether there is another login than the one that was refused. */
  const renew = (refused: string): boolean => {
    if (current !== refused) return true;
    const before = loginOf(current);
    const after = readLogin(file, holds, before);
    if (typeof after === 'string') {
      if (after !== told)
        log.warn({ file, reason: after }, 'the login of the database was refused and cannot be read again');
      told = after;
      return false;
    }
    told = null;
    if (after.user === before.user && after.password === before.password) return false;
    current = withLogin(current, after);
    log.info({ file }, 'the login of the database was refused and read again from its file');
    return true;
  };
  return {
    get current() {
      return current;
    },
    async connecting(work) {
      const used = current;
      try {
        return await work(used);
      } catch (error) {
        if (!refusesLogin(error) || !renew(used)) throw error;
        return await work(current);
      }
    },
  };
}

/** 28P01 and 28000: PostgreSQL, and most poolers; 08P01: PgBouncer, of this and of other things. */
const REFUSALS: ReadonlySet<unknown> = new Set(['28P01', '28000', '08P01']);

const refusesLogin = (error: unknown): boolean => error instanceof pg.DatabaseError && REFUSALS.has(error.code);

/** As a URL has them: percent-encoded. */
interface Login {
  readonly user: string;
  readonly password: string;
}

/** Shape: in words why the file cannot be read now, when it cannot. */
function readLogin(file: string, holds: LoginFile['holds'], before: Login): Login | string {
  try {
    const text = readSecretFile(file);
    return holds === 'url' ? loginOf(text) : { ...before, password: encodeURIComponent(text) };
  } catch (error) {
    // An error of a URL has its text in it.
    return error instanceof SecretFileError ? error.message : 'holds no URL';
  }
}

/** They may stand behind the `?`, which is the only place where the host stands there too. */
function loginOf(text: string): Login {
  const { username, password, searchParams } = new URL(text);
  const behind = (name: string): string => encodeURIComponent(searchParams.get(name) ?? '');
  return { user: behind('user') || username, password: behind('password') || password };
}

function withLogin(text: string, { user, password }: Login): string {
  const url = new URL(text);
  const { searchParams } = url;
  if (url.hostname === '') {
    searchParams.set('user', decodeURIComponent(user));
    searchParams.set('password', decodeURIComponent(password));
  } else {
    for (const name of ['user', 'password']) searchParams.delete(name);
    [url.username, url.password] = [user, password];
  }
  return url.href;
}

/** A pool whose new connections have the login of the moment. */
export class RenewingPool extends pg.Pool {
  readonly #url: RenewableUrl;

  constructor(config: Omit<pg.PoolConfig, 'connectionString'>, url: RenewableUrl) {
    super({ ...config, connectionString: url.current });
    this.#url = url;
  }

  override connect(): Promise<pg.PoolClient>;
  override connect(callback: ConnectCallback): void;
  override connect(callback?: ConnectCallback): Promise<pg.PoolClient> | undefined {
    const connected = this.#url.connecting((url) => {
      // What the next connection is made with.
      this.options.connectionString = url;
      return super.connect();
    });
    if (callback === undefined) return connected;
    connected.then(
      (client) => callback(undefined, client, client.release.bind(client)),
      (error: Error) => callback(error, undefined, () => {}),
    );
    return undefined;
  }
}

type ConnectCallback = Parameters<pg.Pool['connect']>[0];

/**
 * One connection, made by `open`, which does not connect it yet.
 * Errors: those of connecting; throws what `open` throws.
 */
export async function connectWith(url: ConnectionUrl, open: (url: string) => pg.Client): Promise<pg.Client> {
  return renewable(url).connecting(async (text) => {
    const client = open(text);
    try {
      await client.connect();
      return client;
    } catch (error) {
      await client.end().catch(() => {});
      throw error;
    }
  });
}
