/** The settings as the rest of the house sees them: validated, defaults applied, paths absolute. */
export interface Settings {
  readonly smtp: {
    readonly host: string;
    /** 0 asks the operating system for a free one (tests). */
    readonly port: number;
    /** Lower case, A-labels, at least one. */
    readonly domains: readonly string[];
    /** Slug of the organisation that mail to postmaster is recorded for; null: such mail is refused. */
    readonly postmasterOrg: string | null;
    readonly maxMessageBytes: number;
    readonly requireTls: boolean;
    readonly tls: {
      readonly certFile: string;
      readonly keyFile: string;
      readonly minVersion: 'TLSv1' | 'TLSv1.1' | 'TLSv1.2' | 'TLSv1.3';
    } | null;
    readonly maxConnections: number;
    readonly maxConnectionsPerAddress: number;
    /** Memory of all connections with large mails together; not to be set, but shared by processes as the others are. */
    readonly maxHeldBytes: number;
    readonly maxRecipients: number;
    readonly proxyProtocolFrom: readonly string[];
  };
  readonly http: { readonly host: string; readonly port: number };
  /** null: the embedded PostgreSQL under `dataDir`. */
  readonly databaseUrl: string | null;
  /** Where the password in it came from; read again when PostgreSQL refuses the login. null: no file. */
  readonly databaseSecret: {
    /** Absolute. */
    readonly file: string;
    readonly holds: 'url' | 'password';
  } | null;
  /** null: files under `dataDir`. */
  readonly objectStorage: {
    readonly endpoint: string;
    readonly region: string;
    readonly bucket: string;
    /** Before every key: empty, or ending in a slash. */
    readonly prefix: string;
    /** null, as `secretKey` is then: the SDK finds credentials where it runs. */
    readonly accessKey: string | null;
    readonly secretKey: string | null;
    readonly sessionToken: string | null;
    /** Where these came from; read again when the store refuses them. Absolute. null: no file. */
    readonly secretFiles: {
      readonly accessKey: string | null;
      readonly secretKey: string | null;
      readonly sessionToken: string | null;
    };
    /** null: as the bucket encrypts by itself. */
    readonly kmsKeyId: string | null;
    /** null: the authorities that Node knows. Absolute. */
    readonly caFile: string | null;
  } | null;
  /** Where there is no `objectStorage`. */
  readonly objectFiles: { readonly readableBy: 'owner' | 'group' };
  readonly redisUrl: string | null;
  /** Where it came from; read again when Redis refuses the login. Absolute. null: no file. */
  readonly redisUrlFile: string | null;
  readonly worker: {
    /** Jobs run at the same time, by each worker process. */
    readonly concurrency: number;
  };
  readonly dataDir: string;
  /** null: nobody traces. */
  readonly tracing: {
    /** Where spans are posted. */
    readonly url: string;
    readonly headers: Readonly<Record<string, string>>;
    /** Where they came from; read again when the collector refuses them. Absolute. null: no file. */
    readonly headersFile: string | null;
    readonly serviceName: string;
    readonly resourceAttributes: Readonly<Record<string, string>>;
    readonly sampler: {
      readonly name:
        | 'always_on'
        | 'always_off'
        | 'traceidratio'
        | 'parentbased_always_on'
        | 'parentbased_always_off'
        | 'parentbased_traceidratio';
      /** 0 to 1; counts where the name says so. */
      readonly ratio: number;
    };
  } | null;
  readonly log: {
    readonly level: 'trace' | 'debug' | 'info' | 'warn' | 'error' | 'fatal' | 'silent';
    readonly format: 'json' | 'pretty';
  };
}
