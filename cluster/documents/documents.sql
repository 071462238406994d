-- name: known
SELECT id, source, source_stamp, outcome, detail, attempted_hash, attempted_version, content_hash,
       coalesce(pages, 0) AS pages, chunks, tokens
FROM documents
WHERE organisation = %(organisation)s AND vector_store = %(vector_store)s AND id = ANY(%(ids)s);

-- name: list
SELECT id, source, source_stamp, outcome, detail, attempted_hash, attempted_version, content_hash,
       coalesce(pages, 0) AS pages, chunks, tokens
FROM documents
WHERE organisation = %(organisation)s AND vector_store = %(vector_store)s AND id > %(after)s
ORDER BY id
LIMIT %(limit)s;

-- name: lock  works for documents without a row, too
SELECT pg_advisory_xact_lock(hashtextextended(%(organisation)s || '/' || %(id)s, 0));

-- name: record_success
INSERT INTO documents (
    organisation, id, vector_store, source, source_stamp, outcome, detail, attempted_hash, attempted_version, job,
    content_hash, pipeline_version, media_type, bytes, pages, pages_with_text, chunks, tokens, keywords, facts)
VALUES (
    %(organisation)s, %(id)s, %(vector_store)s, %(source)s, %(source_stamp)s, %(outcome)s, %(detail)s, %(content_hash)s, %(version)s, %(job)s,
    %(content_hash)s, %(version)s, %(media_type)s, %(bytes)s, %(pages)s, %(pages_with_text)s, %(chunks)s, %(tokens)s, %(keywords)s, %(facts)s)
ON CONFLICT (organisation, id) DO UPDATE SET
    source_stamp = excluded.source_stamp, outcome = excluded.outcome, detail = excluded.detail,
    attempted_hash = excluded.attempted_hash, attempted_version = excluded.attempted_version, job = excluded.job,
    content_hash = excluded.content_hash, pipeline_version = excluded.pipeline_version, media_type = excluded.media_type,
    bytes = excluded.bytes, pages = excluded.pages, pages_with_text = excluded.pages_with_text,
    chunks = excluded.chunks, tokens = excluded.tokens, keywords = excluded.keywords, facts = excluded.facts, updated_at = now();

-- name: record_failure  the searchable version stays
INSERT INTO documents (
    organisation, id, vector_store, source, source_stamp, outcome, detail, attempted_hash, attempted_version, job)
VALUES (
    %(organisation)s, %(id)s, %(vector_store)s, %(source)s, %(source_stamp)s, %(outcome)s, %(detail)s,
    %(content_hash)s, %(version)s, %(job)s)
ON CONFLICT (organisation, id) DO UPDATE SET
    source_stamp = excluded.source_stamp, outcome = excluded.outcome, detail = excluded.detail,
    attempted_hash = excluded.attempted_hash, attempted_version = excluded.attempted_version, job = excluded.job,
    updated_at = now();

-- name: touch  the bytes have not changed since the last attempt
UPDATE documents SET source_stamp = %(source_stamp)s
WHERE organisation = %(organisation)s AND id = %(id)s;

-- name: count_by_outcome
SELECT outcome, count(*) AS documents, sum(coalesce(pages, 0))::bigint AS pages, sum(chunks)::bigint AS chunks, sum(tokens)::bigint AS tokens
FROM documents
WHERE organisation = %(organisation)s AND vector_store = %(vector_store)s
GROUP BY outcome
ORDER BY outcome;

-- name: delete
DELETE FROM documents WHERE organisation = %(organisation)s AND id = %(id)s;
