/** What decides whether mail arrives at all: our domains, where DNS sends their mail, port 25, STARTTLS. */
import type { Endpoint } from '../cli/endpoint.ts';
import type { Settings } from '../config/settings.ts';
import { type Finding, ok, warning } from '../ports/finding.ts';
import { readGreeting } from './greeting.ts';
import type { MailHost, MailRoute } from './mail-route.ts';

/** Headings of docs/receiving.md. */
export const SECTIONS = {
  ownMx: 'An MX record of its own',
  relay: 'Behind Postfix or Exim',
  microsoft365: 'From Microsoft 365',
  google: 'From Google Workspace',
  alias: 'Buyers who can only mail orders@company',
} as const;

const see = (section: keyof typeof SECTIONS): string => `docs/receiving.md, "${SECTIONS[section]}"`;

/** What SMTP_DOMAIN is where nobody has set it: at home nowhere. */
export const EXAMPLE_DOMAIN = 'orderflow.example.com';

/** Spec: RFC 2606 §2, §3 */
const RESERVED = /(^|\.)(example\.(com|net|org)|example|test|invalid|localhost)$/;

export function checkDomains(domains: readonly string[]): readonly Finding[] {
  return domains
    .filter((domain) => RESERVED.test(domain))
    .map((domain) => {
      const found =
        domain === EXAMPLE_DOMAIN
          ? `SMTP_DOMAIN is still ${domain}, the example's: no mail from outside arrives there`
          : `${domain} is a name reserved for examples and tests (RFC 2606): no mail from outside arrives there`;
      return warning('domain', found, `set SMTP_DOMAIN to a domain of yours: ${see('ownMx')}`);
    });
}

/** `ours`: it is in SMTP_DOMAIN, whose first one is `firstDomain`. */
export function judgeRoute(
  route: MailRoute,
  { ours, firstDomain }: { readonly ours: boolean; readonly firstDomain: string },
): readonly Finding[] {
  const { domain } = route;
  if (ours) return routeFindings(route, ours);
  return [
    ok(
      'domain',
      `${domain} is none of SMTP_DOMAIN: an address there gets its orders here as an alias of orders+<slug>@${firstDomain}, ${see('alias')}`,
    ),
    ...routeFindings(route, ours),
  ];
}

function routeFindings(route: MailRoute, ours: boolean): readonly Finding[] {
  const { domain } = route;
  switch (route.kind) {
    case 'unknown':
      return [
        warning(
          'dns',
          `DNS does not answer (${route.code}): where mail for ${domain} goes cannot be seen`,
          'let this machine reach its name server (/etc/resolv.conf), or name another with --dns-servers, and ask again',
        ),
      ];
    case 'null-mx':
      return [
        warning(
          'mx',
          `${domain} has a null MX: it says that it takes no mail, and senders give up at once (RFC 7505)`,
          `replace it by one that leads here: ${see('ownMx')}`,
        ),
      ];
    case 'nothing':
      return [
        warning(
          'mx',
          `${domain} has neither an MX record nor an address: no mail from outside arrives there`,
          `add an MX record: ${see('ownMx')}`,
        ),
      ];
    case 'hosts':
      return [destination(route, ours), ...route.hosts.flatMap((host) => hostProblems(host, domain))];
  }
}

type Hosts = Extract<MailRoute, { readonly kind: 'hosts' }>;

function destination({ domain, by, hosts }: Hosts, ours: boolean): Finding {
  const record = by === 'mx' ? `the MX of ${domain}` : `${domain} has no MX record; its address (RFC 5321 §5.1)`;
  const found = triedFirst(hosts);
  if (found === null) {
    return warning('mx', `${record} leads nowhere: none of its hosts has an address`, `mend it: ${see('ownMx')}`);
  }
  switch (found.leads) {
    case 'here': {
      const mend = `take it out of DNS, or add ${domain} to SMTP_DOMAIN`;
      if (!ours) return warning('mx', `${record} leads here (${shown(found)}), where its mail is refused`, mend);
      const only = found.addresses.every(isLoopback) ? '; only this machine reaches it' : '';
      return ok('mx', `${record} leads here: ${shown(found)}${only}`);
    }
    case 'perhaps-here':
      return ok(
        'mx',
        `${record} leads to ${shown(found)}, the name that we announce: no address of this machine, and nobody ` +
          'answers there on port 25 from here; right where a balancer or NAT leads it here',
      );
    default:
      return leadsElsewhere(record, found, { ours, alsoHere: hosts.some(({ leads }) => leads === 'here') });
  }
}

/** Of the hosts with an address, those of the lowest preference value; of these one that leads here, if any does. */
function triedFirst(hosts: readonly MailHost[]): MailHost | null {
  const there = hosts.filter(({ leads }) => leads !== 'nowhere');
  const best = there.filter(({ preference }) => preference === there[0]?.preference);
  return best.find(({ leads }) => leads === 'here' || leads === 'perhaps-here') ?? best[0] ?? null;
}

function leadsElsewhere(
  record: string,
  host: MailHost,
  { ours, alsoHere }: { readonly ours: boolean; readonly alsoHere: boolean },
): Finding {
  const [whom, section] = ELSEWHERE[host.leads] ?? ELSEWHERE.elsewhere;
  const answered = host.greeting === null ? '' : `, where ${host.greeting.name || 'another program'} answers`;
  const except = alsoHere ? '; here only while that one does not answer' : '';
  const found = `${record} leads to ${whom}, not here: ${shown(host)}${answered}${except}`;
  if (!ours) return ok('mx', `${found}; how it hands mail on: ${see(section)}`);
  return warning(
    'mx',
    found,
    `nothing, where that server hands the mail on: ${see(section)}; otherwise let the MX lead here: ${see('ownMx')}`,
  );
}

type Elsewhere = readonly [whom: string, section: keyof typeof SECTIONS];

const ELSEWHERE: { readonly [L in MailHost['leads']]?: Elsewhere } & { readonly elsewhere: Elsewhere } = {
  'microsoft-365': ['Microsoft 365', 'microsoft365'],
  google: ['Google', 'google'],
  elsewhere: ['another server', 'relay'],
};

function hostProblems({ name, addresses, alias, isAddress }: MailHost, domain: string): readonly Finding[] {
  const mend = `name a host that has an address of its own in the MX record of ${domain}`;
  if (isAddress) {
    const found = `the MX of ${domain} names the address ${name}: it must name a host, senders look for one of that name`;
    return [warning('mx', found, mend)];
  }
  if (addresses.length === 0) return [warning('mx', `the MX host ${name} of ${domain} has no address`, mend)];
  if (alias === null) return [];
  const found = `the MX host ${name} of ${domain} is an alias (CNAME) of ${alias}: some senders do not deliver to one (RFC 2181 §10.3)`;
  return [warning('mx', found, mend)];
}

const shown = ({ name, addresses }: MailHost): string => `${name} (${addresses.join(', ') || 'no address'})`;

const isLoopback = (address: string): boolean => /^(127\.|::1$)/.test(address);

/** Senders deliver to port 25; where the MX leads to this machine, somebody of ours has to answer there. */
export async function checkPort25(
  smtp: Endpoint,
  announcedName: string,
  routes: readonly MailRoute[],
): Promise<readonly Finding[]> {
  // By its address: who was found by the greeting has answered.
  const here = hostsOf(routes).find(({ leads, greeting }) => leads === 'here' && greeting === null);
  const [host] = here?.addresses ?? [];
  if (host === undefined) return [];
  if (smtp.port === 25 && ['0.0.0.0', '::', host].includes(smtp.host)) return [];
  const greeting = await readGreeting({ host, port: 25 }).catch(() => null);
  if (greeting?.ours && greeting.name.toLowerCase() === announcedName) return [];
  return [
    warning(
      'port 25',
      `senders deliver to port 25 of ${host}, where ${greeting === null ? 'nobody' : 'another program'} answers; ` +
        `this server listens on ${smtp.host}, port ${smtp.port}`,
      'set SMTP_HOST=0.0.0.0 and SMTP_PORT=25, or lead port 25 of that address to it (a port mapping, a balancer)',
    ),
  ];
}

export function checkStartTls({ tls }: Pick<Settings['smtp'], 'tls'>): readonly Finding[] {
  if (tls !== null) return [];
  return [
    warning(
      'starttls',
      'STARTTLS is not offered: mail comes in clear text, and senders that insist on TLS do not deliver',
      'set SMTP_TLS_CERT_FILE and SMTP_TLS_KEY_FILE to a certificate for the host that the MX record names',
    ),
  ];
}

/** What the certificate has to be for: the MX hosts that are ours. null: where mail goes is not known. */
export function mxHostNames(routes: readonly MailRoute[]): readonly string[] | null {
  const known = routes.filter(({ kind }) => kind !== 'unknown');
  if (known.length === 0) return null;
  const ours = hostsOf(known).filter(({ leads }) => leads === 'here' || leads === 'perhaps-here');
  return [...new Set(ours.map(({ name }) => name))];
}

const hostsOf = (routes: readonly MailRoute[]): readonly MailHost[] =>
  routes.flatMap((route) => (route.kind === 'hosts' ? route.hosts : []));
