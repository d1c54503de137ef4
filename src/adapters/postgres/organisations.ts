import { domainToUnicode } from 'node:url';
import type pg from 'pg';
import type { BlockList, Organisation, OrganisationRegister } from '../../ports/organisations.ts';
import { ask, isServerError } from './pool.ts';
import { storableText } from './text.ts';

const COLUMNS = `id, slug, name, coalesce(settings_json->>'disabled' = 'true', false) AS disabled`;

const CHECK_VIOLATION = '23514';

export function createPostgresOrganisations(o: { readonly pool: pg.Pool }): OrganisationRegister {
  return {
    async findBySlug(slug, signal) {
      const text = `SELECT ${COLUMNS} FROM org WHERE slug = $1`;
      const rows = await ask<Organisation>(o.pool, { name: 'find-org-by-slug', text, values: [slug] }, signal);
      return rows[0] ?? null;
    },
    async add(slug, name) {
      try {
        const { rows } = await o.pool.query<Organisation>(
          `INSERT INTO org (slug, name) VALUES ($1, $2) ON CONFLICT (slug) DO NOTHING RETURNING ${COLUMNS}`,
          [storableText(slug), storableText(name)],
        );
        return rows[0] ?? { problem: 'slug-taken' };
      } catch (error) {
        if (isServerError(error) && error.code === CHECK_VIOLATION) return { problem: 'slug-invalid' };
        throw error;
      }
    },
    async list() {
      const { rows } = await o.pool.query<Organisation>(`SELECT ${COLUMNS} FROM org ORDER BY slug`);
      return rows;
    },
  };
}

export function createPostgresBlockList(o: { readonly pool: pg.Pool }): BlockList {
  return {
    async blockedBy(address, signal) {
      const domain = address.slice(address.lastIndexOf('@') + 1);
      const below = domainsAbove(domain).map((above) => `@.${above}`);
      const forms = [address, `@${domain}`, ...below].flatMap(formsOf);
      const patterns = forms.map((form) => storableText(form));
      const rows = await ask<{ readonly orgId: string | null }>(
        o.pool,
        {
          name: 'who-blocks-sender',
          text: 'SELECT org_id AS "orgId" FROM blocked_sender WHERE pattern = ANY ($1)',
          values: [patterns],
        },
        signal,
      );
      return new Set(rows.map(({ orgId }) => orgId));
    },
    async block(pattern, orgId) {
      const { rowCount } = await o.pool.query(
        'INSERT INTO blocked_sender (pattern, org_id) VALUES ($1, $2) ON CONFLICT DO NOTHING',
        [pattern, orgId],
      );
      return rowCount === 1;
    },
    async unblock(pattern, orgId) {
      const { rowCount } = await o.pool.query(
        'DELETE FROM blocked_sender WHERE pattern = ANY ($1) AND org_id IS NOT DISTINCT FROM $2::uuid',
        [formsOf(pattern), orgId],
      );
      return rowCount !== null && rowCount > 0;
    },
    async listBlocked() {
      const { rows } = await o.pool.query(
        `SELECT blocked.org_id AS "orgId", org.slug AS "orgSlug", pattern, blocked.created_at AS "createdAt"
         FROM blocked_sender AS blocked LEFT JOIN org ON org.id = blocked.org_id
         ORDER BY org.slug NULLS FIRST, pattern`,
      );
      return rows;
    },
  };
}

/** RFC 1035 §2.3.4: a domain has 253 characters, hence at most 127 labels. */
const MAX_DOMAIN_CHARACTERS = 253;

/** The domain itself and those it is below: `a.b.example`, `b.example`, `example`; of an endless one the short ones. */
function domainsAbove(domain: string): readonly string[] {
  const labels = domain.slice(-MAX_DOMAIN_CHARACTERS).split('.');
  const whole = domain.length <= MAX_DOMAIN_CHARACTERS ? labels : labels.slice(1);
  return whole.map((_, index) => whole.slice(index).join('.'));
}

/** Patterns have A-labels. Those of an earlier version have the domain as it was typed, and count as well. */
function formsOf(pattern: string): readonly string[] {
  const domainStart = pattern.lastIndexOf('@') + 1;
  const domain = pattern.slice(domainStart);
  const typed = domain.includes('xn--') ? domainToUnicode(domain) : '';
  return typed === '' || typed === domain ? [pattern] : [pattern, `${pattern.slice(0, domainStart)}${typed}`];
}
