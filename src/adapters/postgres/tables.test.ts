import { describeTables } from '../../ports/tables.contract.ts';
import { addOrganisation, createTestPool } from '../../testing/postgres-fixtures.ts';
import { createPostgresExtractionStore } from './extraction-store.ts';
import { createPostgresGapMemory } from './gap-memory.ts';
import { createPostgresJobOutbox } from './job-outbox.ts';
import { createPostgresMarkMemory } from './mark-memory.ts';
import { createPostgresMessageStore } from './message-store.ts';
import { createPostgresOrganisations } from './organisations.ts';
import { createPostgresReconciliation } from './reconciliation.ts';
import { createPostgresUnfinishedDocuments } from './unfinished-documents.ts';
import { createPostgresWaitingMessages } from './waiting-messages.ts';

describeTables('PostgreSQL', async () => {
  const { pool, close } = await createTestPool();
  return {
    messages: createPostgresMessageStore({ pool }),
    extraction: createPostgresExtractionStore({ pool }),
    outbox: createPostgresJobOutbox({ pool }),
    rows: createPostgresReconciliation({ pool }),
    marks: createPostgresMarkMemory({ pool }),
    gaps: createPostgresGapMemory({ pool }),
    waiting: createPostgresWaitingMessages({ pool }),
    unfinished: createPostgresUnfinishedDocuments({ pool }),
    organisations: createPostgresOrganisations({ pool }),
    organisation: (slug) => addOrganisation(pool, slug),
    close,
  };
});
