/** How one setting's text becomes a value: a zod schema each, whose message says what would be right. */
import { isIP } from 'node:net';
import { z } from 'zod';
import { isKeySegment } from '../ports/keys.ts';
import { asciiDomain } from '../smtp/index.ts';
import { namesSeveralHosts } from './database-url.ts';

/** A schema from a setting's text (trimmed, never empty) to its value. */
export type Form<T> = z.ZodType<T, string>;

/** Shape: `parse` returns the value, or null when the text is not of the form. */
export function form<T>(right: string, parse: (text: string) => T | null): Form<T> {
  return z.string().transform((text, context) => {
    const value = parse(text);
    if (value !== null) return value;
    context.addIssue({ code: 'custom', message: `must be ${right}` });
    return z.NEVER;
  });
}

/** Only decimal digits: `Number('1e3')`, `Number(' ')` and `Number('0x10')` are numbers too, and traps. */
export function wholeNumber(options: { min: number; max: number; unit?: string; example: string }): Form<number> {
  const unit = options.unit === undefined ? '' : ` of ${options.unit}`;
  const right = `a whole number${unit} from ${options.min} to ${options.max}, digits only, such as ${options.example}`;
  return form(right, (text) => {
    if (!/^[0-9]{1,15}$/.test(text)) return null;
    const value = Number(text);
    return value >= options.min && value <= options.max ? value : null;
  });
}

/** Kubernetes gives every container `SMTP_PORT=tcp://10.0.0.7:25` when a Service is called `smtp`. */
const injectedByKubernetes = /^(tcp|udp|sctp):\/\//;

export function port(example: string): Form<number> {
  const number = wholeNumber({ min: 1, max: 65535, example });
  return z.string().transform((text, context) => {
    const outcome = number.safeParse(text);
    if (outcome.success) return outcome.data;
    const message = outcome.error.issues[0]?.message ?? '';
    context.addIssue({
      code: 'custom',
      message: injectedByKubernetes.test(text)
        ? `looks like what Kubernetes injects for a Service of that name; ${message}: set it in the pod itself, rename the Service, or set enableServiceLinks: false`
        : message,
    });
    return z.NEVER;
  });
}

export const trueOrFalse: Form<boolean> = form('true or false', (text) => {
  const word = text.toLowerCase();
  return word === 'true' ? true : word === 'false' ? false : null;
});

export function oneOf<const T extends string>(words: readonly T[]): Form<T> {
  return form(
    `one of ${words.join(', ')}`,
    (text) => words.find((word) => word.toLowerCase() === text.toLowerCase()) ?? null,
  );
}

const label = /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/;

/** Spec: RFC 1123 §2.1. Not a dotted number: `127.0.0` and `300.1.1.1` are mistyped addresses, not names. */
export function isHostName(text: string): boolean {
  const name = text.toLowerCase();
  return name.length <= 253 && !/^[0-9.]+$/.test(name) && name.split('.').every((part) => label.test(part));
}

export const bindAddress: Form<string> = form(
  'an IP address or host name to listen on, without port or brackets, such as 127.0.0.1, 0.0.0.0 or ::',
  (text) => (isIP(text) !== 0 || isHostName(text) ? text : null),
);

export const domains: Form<readonly string[]> = form(
  'one or more domain names separated by commas, such as orders.example.com,bücher.example',
  (text) => {
    // Kept as A-labels, which recipients' domains are compared with.
    const names = text.split(',').map((name) => asciiDomain(name.trim())?.toLowerCase() ?? '');
    return names.every(isHostName) ? [...new Set(names)] : null;
  },
);

/** The local part `orders+slug` must fit into 64 octets. Spec: RFC 5321 §4.5.3.1.1 */
export const maxSlugLength = 64 - 'orders+'.length;

export function isSlug(text: string): boolean {
  return text.length <= maxSlugLength && /^[a-z0-9-]+$/.test(text);
}

export const slug: Form<string> = form(
  `the slug of an organisation, 1 to ${maxSlugLength} of a-z, 0-9 and hyphen, such as acme`,
  (text) => (isSlug(text.toLowerCase()) ? text.toLowerCase() : null),
);

export const path: Form<string> = form('a path', (text) => (text.includes('\0') ? null : text));

function parsedUrl(text: string, protocols: readonly string[]): URL | null {
  const url = URL.parse(text);
  return url !== null && protocols.includes(url.protocol) ? url : null;
}

/** A socket directory may stand in `?host=` instead of a host, as libpq allows. */
const onePostgresUrl: Form<string> = form(
  'a URL such as postgresql://user:password@db.example.com:5432/orderflow (special characters in the password percent-encoded)',
  (text) => {
    const url = parsedUrl(text, ['postgres:', 'postgresql:']);
    return url !== null && (url.hostname !== '' || url.searchParams.has('host')) ? text : null;
  },
);

/** libpq takes a list of hosts, the driver does not: it would look for one with commas in its name. */
export const postgresUrl: Form<string> = z.string().transform((text, context) => {
  const outcome = onePostgresUrl.safeParse(text);
  if (outcome.success && !namesSeveralHosts(text)) return outcome.data;
  const message = namesSeveralHosts(text)
    ? 'names several hosts, which the driver cannot try in turn: give one address that leads to the primary, ' +
      'one that moves with it or that of a balancer such as HAProxy (docs/operations.md)'
    : (outcome.error?.issues[0]?.message ?? '');
  context.addIssue({ code: 'custom', message });
  return z.NEVER;
});

/** What other clients take for Redis Sentinel and Cluster. */
const SEVERAL_REDIS = /^(redis|rediss|valkey|valkeys)[+-](sentinel|cluster):/i;

/** Nothing behind a `?`: the driver would take any option of its own from there. */
const oneRedisUrl: Form<string> = form(
  'a URL such as redis://redis.example.com:6379 or rediss://user:password@redis.example.com:6380/0 (rediss:// for TLS; ' +
    'a number or nothing behind the last slash; special characters in the password percent-encoded)',
  (text) => {
    const url = parsedUrl(text, ['redis:', 'rediss:']);
    if (url === null || url.hostname === '' || url.search !== '' || url.hash !== '') return null;
    return /^(\/\d{0,4})?$/.test(url.pathname) && isPercentEncoded(url.username + url.password) ? text : null;
  },
);

/** Sentinel and Cluster are other protocols; BullMQ's jobs would need keys of their own form in a cluster. */
export const redisUrl: Form<string> = z.string().transform((text, context) => {
  const outcome = oneRedisUrl.safeParse(text);
  if (outcome.success) return outcome.data;
  const message = namesSeveralRedis(text)
    ? 'names Redis Sentinel, a Redis Cluster or several servers, which are not supported: give one redis:// or ' +
      'rediss:// address that leads to the primary, one that moves with it (docs/operations.md)'
    : (outcome.error.issues[0]?.message ?? '');
  context.addIssue({ code: 'custom', message });
  return z.NEVER;
});

function namesSeveralRedis(text: string): boolean {
  if (SEVERAL_REDIS.test(text)) return true;
  const authority = /^rediss?:\/\/([^/?#]*)/i.exec(text)?.[1] ?? '';
  return authority.slice(authority.lastIndexOf('@') + 1).includes(',');
}

function isPercentEncoded(text: string): boolean {
  try {
    decodeURIComponent(text);
    return true;
  } catch {
    return false;
  }
}

export const httpUrl: Form<string> = form(
  'an http:// or https:// URL without user name, path or query, such as https://s3.eu-central-1.amazonaws.com',
  (text) => {
    const url = parsedUrl(text, ['http:', 'https:']);
    if (url === null || url.username !== '' || url.password !== '') return null;
    return url.pathname === '/' && url.search === '' && url.hash === '' ? url.origin : null;
  },
);

/** Spec: OpenTelemetry Protocol Exporter, "Endpoint URLs for OTLP/HTTP": a path may stand before what is added. */
export const otlpEndpoint: Form<string> = form(
  'an http:// or https:// URL without user name or query, such as http://collector.example.com:4318',
  (text) => {
    const url = parsedUrl(text, ['http:', 'https:']);
    if (url === null || url.username !== '' || url.password !== '' || url.search !== '' || url.hash !== '') return null;
    return url.href;
  },
);

/** Spec: as W3C Baggage, without properties; OpenTelemetry writes headers and resource attributes so. */
export const keyValueList: Form<Readonly<Record<string, string>>> = form(
  'name=value pairs separated by commas, comma and = in them percent-encoded, such as deployment.environment.name=production',
  (text) => {
    const pairs = text.split(',').filter((pair) => pair.trim() !== '');
    const entries = pairs.map((pair) => /^\s*([^=\s]+)\s*=([^=]*)$/.exec(pair)?.slice(1) ?? []);
    if (!entries.every(([name, value]) => name !== undefined && value !== undefined)) return null;
    if (!entries.flat().every(isPercentEncoded)) return null;
    return Object.fromEntries(
      entries.map(([name = '', value = '']) => [decodeURIComponent(name), decodeURIComponent(value.trim())]),
    );
  },
);

export const share: Form<number> = form('a number from 0 to 1, such as 0.1', (text) =>
  /^(0|1|0?\.[0-9]{1,15}|1\.0+)$/.test(text) ? Number(text) : null,
);

/** Spec: the S3 naming rules that every S3-compatible store shares. */
export const bucketName: Form<string> = form(
  'a bucket name of 3 to 63 characters a-z, 0-9, dot and hyphen, such as orderflow-mail',
  (text) => (/^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$/.test(text) && !text.includes('..') ? text : null),
);

/** Ends in a slash, so that no key of ours begins with another's prefix. Leaves 800 of S3's 1,024 bytes for the key. */
export const keyPrefix: Form<string> = form(
  'one or more names of letters, digits, dot, hyphen and underscore with a slash between them, 200 characters at most, such as orderflow/production',
  (text) => {
    const segments = text.replace(/\/$/, '').split('/');
    return text.length <= 200 && segments.every(isKeySegment) ? `${segments.join('/')}/` : null;
  },
);

export const regionName: Form<string> = form('a region name such as eu-central-1', (text) =>
  /^[A-Za-z0-9-]{1,64}$/.test(text) ? text : null,
);

export const credential: Form<string> = form('without spaces or control characters', (text) =>
  /^[\x21-\x7e]+$/.test(text) ? text : null,
);

export const freeText: Form<string> = form('without control characters', (text) =>
  /\p{Cc}/u.test(text) ? null : text,
);

function isNetwork(text: string): boolean {
  const [address = '', bits, ...rest] = text.split('/');
  const version = isIP(address);
  if (version === 0 || rest.length > 0) return false;
  return bits === undefined || (/^[0-9]{1,3}$/.test(bits) && Number(bits) <= (version === 4 ? 32 : 128));
}

export const networks: Form<readonly string[]> = form(
  'IP addresses or networks separated by commas, such as 10.0.0.5,192.168.0.0/16',
  (text) => {
    const entries = text.split(',').map((entry) => entry.trim());
    return entries.every(isNetwork) ? entries : null;
  },
);
