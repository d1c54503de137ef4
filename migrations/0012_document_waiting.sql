-- How many documents wait for the next stage, and for how long, without reading those that are done: those leave the index. It
-- takes about a second for each million documents; mails are taken meanwhile, and documents stored after it.

CREATE INDEX document_by_status ON document (status, created_at)
  WHERE status IN ('UPLOADED', 'STORED', 'PROCESSING', 'FAILED');
