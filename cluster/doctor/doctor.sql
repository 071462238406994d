-- These statements search every organisation, because the doctor is for the operator. Each finding names its
-- organisation.

-- name: applied
SELECT name FROM schema_migrations;

-- name: pgvector
SELECT extversion FROM pg_extension WHERE extname = 'vector';

-- name: locale
SELECT pg_encoding_to_char(encoding), datctype FROM pg_database WHERE datname = current_database();

-- name: fill  half a megabyte that does not compress, so that the table grows
CREATE TEMP TABLE doctor_probe ON COMMIT DROP AS
SELECT string_agg(gen_random_uuid()::text, '') AS filler FROM generate_series(1, 16384) AS n GROUP BY n % 128;

-- name: waiting  jobs that may begin, by priority class, and the wait of the first one
SELECT priority_class, count(*) AS jobs, extract(epoch FROM now() - min(coalesce(retry_at, created_at)))::float8 AS oldest_s
FROM jobs
WHERE state = 'queued' AND (retry_at IS NULL OR retry_at <= now())
GROUP BY priority_class ORDER BY priority_class;

-- name: dead_letters
SELECT count(*) FROM jobs WHERE state = 'failed' AND kind <> ALL(%(not_retryable)s);

-- name: needed_blobs
SELECT organisation, sha256 FROM files UNION SELECT organisation, sha256 FROM upload_parts
UNION SELECT organisation, output_sha256 FROM batch_parts WHERE output_sha256 IS NOT NULL
UNION SELECT organisation, error_sha256 FROM batch_parts WHERE error_sha256 IS NOT NULL
UNION SELECT organisation, input_sha256 FROM batches WHERE status IN ('validating', 'in_progress', 'finalizing')
UNION SELECT 'system', csv_sha256 FROM usage_reports WHERE csv_sha256 IS NOT NULL
UNION SELECT 'system', pdf_sha256 FROM usage_reports WHERE pdf_sha256 IS NOT NULL;

-- name: files
SELECT organisation, id, sha256 FROM files ORDER BY organisation, id;

-- name: searchable  true if the deletion of the file would remove searchable text
SELECT EXISTS (
    SELECT FROM vector_store_files AS attached
    JOIN documents ON (documents.organisation, documents.id) = (attached.organisation, attached.document)
    WHERE attached.organisation = %(organisation)s AND attached.file = %(file)s AND documents.chunks > 0);

-- name: collections
SELECT name FROM vector_collections WHERE to_regclass('vectors_' || name) IS NOT NULL ORDER BY name;

-- name: chunks_without_document  except in stores that a job is deleting
SELECT DISTINCT chunk.organisation, chunk.vector_store, chunk.document FROM {table} AS chunk
WHERE NOT EXISTS (
    SELECT FROM documents
    WHERE documents.organisation = chunk.organisation AND documents.id = chunk.document
      AND documents.vector_store = chunk.vector_store)
  AND NOT EXISTS (
    SELECT FROM jobs
    WHERE jobs.organisation = chunk.organisation AND jobs.subject = chunk.vector_store AND jobs.kind = %(deletion)s
      AND jobs.state IN ('queued', 'running'))
ORDER BY 1, 2, 3;

-- name: stores_with_old_words  word search may miss some of their chunks
SELECT organisation, vector_store, {collection} AS collection FROM {table}
WHERE words_version < {version} AND text <> '' GROUP BY organisation, vector_store ORDER BY organisation, vector_store;

-- name: collections_in_index
SELECT DISTINCT collection.name, collection.dim, collection.metric FROM vector_collections AS collection
JOIN vector_stores AS store ON store.collection = collection.name
WHERE store.index = %(index)s AND store.deleted_at IS NULL ORDER BY collection.name;

-- name: stores_of_collections
SELECT organisation, id FROM vector_stores
WHERE collection = ANY(%(collections)s) AND deleted_at IS NULL ORDER BY organisation, id;

-- name: document_is_there
SELECT FROM documents
WHERE organisation = %(organisation)s AND id = %(document)s AND vector_store = %(store)s;

-- name: documents_without_chunks  searchable documents with fewer chunks in the index than recorded
SELECT documents.organisation, documents.id, store.id AS store
FROM documents
JOIN vector_stores AS store ON (store.organisation, store.id) = (documents.organisation, documents.vector_store)
WHERE store.collection = %(collection)s AND store.deleted_at IS NULL AND store.expired_at IS NULL
  AND documents.content_hash IS NOT NULL AND documents.chunks > (
    SELECT count(*) FROM {table} AS chunk
    WHERE chunk.organisation = documents.organisation AND chunk.vector_store = store.id AND chunk.document = documents.id)
ORDER BY documents.organisation, documents.id;

-- name: forget_content  the next job or ingest processes the document again; until then its chunks stay
UPDATE documents
SET content_hash = NULL, pipeline_version = NULL, attempted_hash = NULL, source_stamp = NULL, chunks = 0, tokens = 0,
    outcome = 'failed', detail = 'its chunks were missing from the index', updated_at = now()
WHERE organisation = %(organisation)s AND id = %(document)s;

-- name: attached_as
SELECT file FROM vector_store_files
WHERE organisation = %(organisation)s AND vector_store = %(store)s AND document = %(document)s;

-- name: files_in_progress_without_job
SELECT attached.organisation, attached.vector_store, attached.file, attached.job, jobs.state, jobs.error
FROM vector_store_files AS attached
JOIN vector_stores AS store ON (store.organisation, store.id) = (attached.organisation, attached.vector_store)
LEFT JOIN jobs ON (jobs.organisation, jobs.id) = (attached.organisation, attached.job)
WHERE attached.status = 'in_progress' AND store.deleted_at IS NULL AND store.expired_at IS NULL
  AND (jobs.state IS NULL OR jobs.state NOT IN ('queued', 'running'))
ORDER BY attached.organisation, attached.vector_store, attached.file;

-- name: stores_in_indexes  deleted and expired stores are left to their jobs
SELECT organisation, id, index, collection FROM vector_stores
WHERE index = ANY(%(indexes)s) AND deleted_at IS NULL AND expired_at IS NULL AND (expires_at IS NULL OR expires_at > now())
ORDER BY organisation, id;

-- name: stores_in_other_indexes
SELECT organisation, id, index FROM vector_stores
WHERE index <> ALL(%(indexes)s) AND deleted_at IS NULL AND expired_at IS NULL AND (expires_at IS NULL OR expires_at > now())
ORDER BY organisation, id;

-- name: fingerprints_of_stores  each with the stores that have it
SELECT fingerprint, jsonb_agg(jsonb_build_object('organisation', organisation, 'id', id) ORDER BY organisation, id)
FROM vector_stores
WHERE deleted_at IS NULL AND expired_at IS NULL AND (expires_at IS NULL OR expires_at > now())
GROUP BY fingerprint ORDER BY min(organisation || '/' || id);

-- name: uncollected_provider_batches  a batch ends within a day, and a run collects it soon after that
SELECT organisation, vector_store, id, provider_id, inputs FROM provider_batches
WHERE closed_at IS NULL AND created_at < now() - interval '2 days'
ORDER BY organisation, vector_store, number;

-- name: chunk_count
SELECT count(*) FROM {table} WHERE organisation = %(organisation)s AND vector_store = %(store)s;

-- name: outbox_count
SELECT count(*) FROM vector_outbox WHERE organisation = %(organisation)s AND vector_store = %(store)s;

-- name: sampled_chunks  from a random id on, and from the beginning if there are too few
(SELECT id FROM {table} WHERE organisation = %(organisation)s AND vector_store = %(store)s AND id >= %(first)s
 ORDER BY id LIMIT %(limit)s)
UNION
(SELECT id FROM {table} WHERE organisation = %(organisation)s AND vector_store = %(store)s AND id < %(first)s
 ORDER BY id LIMIT %(limit)s)
LIMIT %(limit)s;

-- name: chunks_after
SELECT id FROM {table} WHERE organisation = %(organisation)s AND vector_store = %(store)s AND id > %(after)s
ORDER BY id LIMIT %(limit)s;

-- name: known_ids  an entry '' in the outbox stands for every vector of the store
SELECT id FROM {table} WHERE organisation = %(organisation)s AND vector_store = %(store)s AND id = ANY(%(ids)s)
UNION
SELECT given.id FROM unnest(%(ids)s::text[]) AS given (id)
JOIN vector_outbox AS entry ON entry.organisation = %(organisation)s AND entry.vector_store = %(store)s AND entry.id IN (given.id, '');

-- name: documents_of_chunks
SELECT id, document FROM {table} WHERE organisation = %(organisation)s AND vector_store = %(store)s AND id = ANY(%(ids)s);

-- name: delete_chunks
DELETE FROM {table}
WHERE organisation = %(organisation)s AND vector_store = %(store)s AND document = %(document)s AND id = ANY(%(ids)s);

-- name: reports  that are completed, each with the hashes of its files
SELECT organisation, id, state, array_remove(ARRAY[csv_sha256, pdf_sha256], NULL)
FROM usage_reports
WHERE status = 'completed'
ORDER BY organisation, id;
