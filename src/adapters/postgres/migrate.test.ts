import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { readdir } from 'node:fs/promises';
import { describe, it, type TestContext } from 'node:test';
import pg from 'pg';
import { cleanUp } from '../../testing/clean-up.ts';
import { createTestDatabase } from '../../testing/database.ts';
import { MigrationError, migrate, pendingMigrations } from './migrate.ts';
import { createPostgresOrganisations } from './organisations.ts';
import { asOrganisation } from './tenant.ts';

const ALL = (await readdir(new URL('../../../migrations', import.meta.url)))
  .map((file) => file.replace('.sql', ''))
  .sort();

/** An empty database owned by a login of its own with just these attributes; the role of tenants exists already. */
async function emptyDatabase(
  t: TestContext,
  attributes = '',
): Promise<{ url: string; login: string; admin: pg.Client }> {
  const database = await createTestDatabase();
  cleanUp(t, database.close);
  const admin = new pg.Client({ connectionString: database.url });
  await admin.connect();
  cleanUp(t, () => admin.end());
  const login = `login_${randomBytes(4).toString('hex')}`;
  const name = `empty_${randomBytes(4).toString('hex')}`;
  await admin.query(`CREATE ROLE ${login} LOGIN PASSWORD 'p' ${attributes}`);
  await admin.query(`GRANT ${login} TO current_user WITH INHERIT TRUE, SET TRUE`);
  await admin.query(`CREATE DATABASE ${name} OWNER ${login}`);
  cleanUp(t, async () => {
    await admin.query(`DROP DATABASE ${name} WITH (FORCE)`);
    await admin.query(`DROP ROLE ${login}`);
  });
  const url = new URL(database.url);
  Object.assign(url, { pathname: `/${name}`, username: login, password: 'p' });
  return { url: url.href, login, admin };
}

describe('bringing the schema up to date', () => {
  it('is done by one of many processes at once, and nothing is left to do then', async (t) => {
    const { url, login, admin } = await emptyDatabase(t);
    await admin.query(`GRANT orderflow_tenant TO ${login}`);
    assert.deepEqual(await pendingMigrations(url), ALL);

    const applied = await Promise.all([migrate({ url }), migrate({ url }), migrate({ url })]);

    assert.deepEqual(applied.map((one) => one.applied.length).sort(), [0, 0, ALL.length]);
    assert.deepEqual(await pendingMigrations(url), []);
  });

  it('works with an ordinary login, once an administrator has given it the role of tenants', async (t) => {
    const { url, login, admin } = await emptyDatabase(t);
    await assert.rejects(migrate({ url }), (error) => {
      assert.ok(error instanceof MigrationError);
      assert.match(error.message, /GRANT orderflow_tenant TO/);
      return true;
    });
    assert.deepEqual(await pendingMigrations(url), ALL);

    await admin.query(`GRANT orderflow_tenant TO ${login}`);
    await migrate({ url });

    const pool = new pg.Pool({ connectionString: url });
    // `end` does not wait until the server has seen it, and the database is dropped by force.
    pool.on('error', () => {});
    cleanUp(t, () => pool.end());
    const acme = await createPostgresOrganisations({ pool }).add('acme', 'Acme');
    assert.ok('id' in acme);
    const { rows } = await asOrganisation(pool, acme.id, (client) => client.query('SELECT slug FROM org'));
    assert.deepEqual(rows, [{ slug: 'acme' }]);
  });

  it('looking for what is missing changes nothing', async (t) => {
    const { url } = await emptyDatabase(t);
    await pendingMigrations(url);
    const client = new pg.Client({ connectionString: url });
    await client.connect();
    const { rows } = await client.query(`SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace`);
    await client.end();
    assert.deepEqual(rows, []);
  });
});
