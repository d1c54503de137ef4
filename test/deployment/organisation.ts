import pg from 'pg';

export async function addOrganisation(databaseUrl: string, slug: string): Promise<void> {
  const client = new pg.Client({ connectionString: databaseUrl });
  await client.connect();
  try {
    await client.query('INSERT INTO org (slug, name) VALUES ($1, $1)', [slug]);
  } finally {
    await client.end();
  }
}
