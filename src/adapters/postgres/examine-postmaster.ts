/** Does mail to postmaster have somebody who gets it? */
import type pg from 'pg';
import { type Finding, ok, warning } from '../../ports/finding.ts';

const CHECK = 'postmaster';

/** `slug`: of SMTP_POSTMASTER_ORG; null: such mail is refused on purpose. Nothing is said before there are tables. */
export async function examinePostmaster(client: pg.Client, slug: string | null): Promise<readonly Finding[]> {
  if (slug === null || !(await hasOrganisations(client))) return [];
  const { rows } = await client.query<{ disabled: boolean }>(
    `SELECT coalesce(settings_json->>'disabled' = 'true', false) AS disabled FROM public.org WHERE slug = $1`,
    [slug],
  );
  const [organisation] = rows;
  if (organisation === undefined) return [warning(CHECK, missingPostmaster(slug), mendBy(slug))];
  if (!organisation.disabled) return [ok(CHECK, `recorded for ${slug}`)];
  const found = `SMTP_POSTMASTER_ORG: organisation ${slug} is disabled, so mail to postmaster is refused with 550`;
  return [warning(CHECK, found, 'enable it in settings_json, or name another one')];
}

export const missingPostmaster = (slug: string): string =>
  `SMTP_POSTMASTER_ORG: there is no organisation ${slug}, so mail to postmaster is answered 451`;

const mendBy = (slug: string): string => `org add ${slug} makes it; or name one that org list shows`;

async function hasOrganisations(client: pg.Client): Promise<boolean> {
  const { rows } = await client.query<{ there: boolean }>(`SELECT to_regclass('public.org') IS NOT NULL AS there`);
  return rows[0]?.there === true;
}
