-- name: organisations  those with stores to mark as expired
SELECT DISTINCT organisation FROM vector_stores WHERE expires_at <= now() AND expired_at IS NULL
    AND deleted_at IS NULL;

-- name: expire
UPDATE vector_stores SET expired_at = now()
WHERE organisation = %(organisation)s AND expires_at <= now() AND expired_at IS NULL AND deleted_at IS NULL
RETURNING id, created_at;

-- name: lock  no document or file can be added until the transaction ends
SELECT collection, deleted_at IS NOT NULL AS deleted, expired_at IS NOT NULL AS expired
FROM vector_stores
WHERE organisation = %(organisation)s AND id = %(id)s
FOR UPDATE;

-- name: files
SELECT file, job, status = 'in_progress' AS is_open
FROM vector_store_files
WHERE organisation = %(organisation)s AND vector_store = %(id)s
ORDER BY file
LIMIT %(limit)s;

-- name: detach
DELETE FROM vector_store_files WHERE organisation = %(organisation)s AND vector_store = %(id)s
    AND file = ANY(%(files)s);

-- name: delete_documents
DELETE FROM documents
WHERE organisation = %(organisation)s AND id = ANY(ARRAY(
    SELECT id FROM documents
    WHERE organisation = %(organisation)s AND vector_store = %(id)s
    LIMIT %(limit)s));

-- name: delete_batches
DELETE FROM file_batches WHERE organisation = %(organisation)s AND vector_store = %(id)s;

-- name: delete
WITH versions AS (
    DELETE FROM vector_store_changes WHERE organisation = %(organisation)s AND vector_store = %(id)s
), configurations AS (
    DELETE FROM vector_store_text_configurations
    WHERE organisation = %(organisation)s AND vector_store = %(id)s
)
DELETE FROM vector_stores WHERE organisation = %(organisation)s AND id = %(id)s;
