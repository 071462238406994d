-- name: read  the documents of a store and its attached files, joined, in the order of document ids
SELECT coalesce(ledger.id, attached.document) AS id, to_jsonb(ledger) AS document, to_jsonb(attached) AS file
FROM (SELECT * FROM documents WHERE organisation = %(organisation)s AND vector_store = %(store)s) AS ledger
FULL JOIN (SELECT * FROM vector_store_files WHERE organisation = %(organisation)s AND vector_store = %(store)s) AS attached
    ON attached.document = ledger.id
ORDER BY coalesce(ledger.id, attached.document) COLLATE "C";

-- name: busy_files  a job of the store itself works on them
SELECT file FROM vector_store_files
WHERE organisation = %(organisation)s AND vector_store = %(store)s AND file = ANY(%(files)s) AND status = 'in_progress'
ORDER BY file
FOR UPDATE;

-- name: write_files  only files that the organisation has; without a job, so that no other job changes their status
INSERT INTO vector_store_files AS attached (organisation, vector_store, file, document, status, error_code, error,
    attributes, chunking_strategy, ocr, ocr_languages, job, usage_bytes, failed_pages, created_at)
SELECT files.organisation, %(store)s, files.id, new.document, new.status, new.error_code, new.error,
    new.attributes, nullif(new.chunking_strategy, 'null'), new.ocr, new.ocr_languages, '', new.usage_bytes, new.failed_pages, new.created_at
FROM jsonb_to_recordset(%(rows)s) AS new (file text, document text, status text, error_code text, error text,
    attributes jsonb, chunking_strategy jsonb, ocr text, ocr_languages text, usage_bytes bigint, failed_pages integer[], created_at timestamptz)
JOIN files ON files.organisation = %(organisation)s AND files.id = new.file
ORDER BY files.id
ON CONFLICT (organisation, vector_store, file) DO UPDATE SET
    status = excluded.status, error_code = excluded.error_code, error = excluded.error, job = '',
    attributes = excluded.attributes, chunking_strategy = excluded.chunking_strategy,
    ocr = excluded.ocr, ocr_languages = excluded.ocr_languages,
    usage_bytes = excluded.usage_bytes, failed_pages = excluded.failed_pages
WHERE attached.status <> 'in_progress';

-- name: write_documents
INSERT INTO documents (organisation, id, vector_store, job, source, source_stamp, outcome, detail, attempted_hash,
    attempted_version, content_hash, pipeline_version, media_type, bytes, pages, pages_with_text, chunks, tokens, keywords, facts)
SELECT %(organisation)s, new.id, %(store)s, %(job)s, new.source, new.source_stamp, new.outcome, new.detail, new.attempted_hash,
    new.attempted_version, new.content_hash, new.pipeline_version, new.media_type, new.bytes, new.pages, new.pages_with_text,
    new.chunks, new.tokens, new.keywords, new.facts
FROM jsonb_to_recordset(%(rows)s) AS new (id text, source text, source_stamp text, outcome text, detail text,
    attempted_hash text, attempted_version text, content_hash text, pipeline_version text, media_type text, bytes bigint,
    pages integer, pages_with_text integer, chunks integer, tokens bigint, keywords text[], facts jsonb)
ORDER BY new.id
ON CONFLICT (organisation, id) DO UPDATE SET
    source_stamp = excluded.source_stamp, outcome = excluded.outcome, detail = excluded.detail,
    attempted_hash = excluded.attempted_hash, attempted_version = excluded.attempted_version, job = excluded.job,
    content_hash = excluded.content_hash, pipeline_version = excluded.pipeline_version, media_type = excluded.media_type,
    bytes = excluded.bytes, pages = excluded.pages, pages_with_text = excluded.pages_with_text,
    chunks = excluded.chunks, tokens = excluded.tokens, keywords = excluded.keywords, facts = excluded.facts, updated_at = now()
WHERE documents.vector_store = excluded.vector_store;

-- name: count
SELECT (SELECT count(*) FROM documents WHERE organisation = %(organisation)s AND vector_store = %(store)s),
    (SELECT count(*) FROM vector_store_files WHERE organisation = %(organisation)s AND vector_store = %(store)s);
