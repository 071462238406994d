-- name: get
SELECT {columns} FROM {tables}
WHERE attached.organisation = %(organisation)s AND attached.vector_store = %(vector_store)s
    AND attached.file = %(file)s;

-- name: lock
SELECT {columns} FROM {tables}
WHERE attached.organisation = %(organisation)s AND attached.vector_store = %(vector_store)s
    AND attached.file = %(file)s
FOR UPDATE OF attached;

-- name: hold_store  locked before the file, in the order in which the deletion of a store locks them
SELECT id FROM vector_stores
WHERE organisation = %(organisation)s AND id = %(vector_store)s AND deleted_at IS NULL AND expired_at IS NULL
FOR KEY SHARE;

-- name: newest
SELECT {columns} FROM {tables}
WHERE attached.organisation = %(organisation)s AND attached.vector_store = %(vector_store)s
    AND (%(status)s::text IS NULL OR attached.status = %(status)s)
    AND (attached.created_at, attached.file) < (%(from_at)s::timestamptz, %(from_id)s)
    AND (attached.created_at, attached.file) > (%(to_at)s::timestamptz, %(to_id)s)
ORDER BY attached.created_at DESC, attached.file DESC
LIMIT %(limit)s;

-- name: oldest
SELECT {columns} FROM {tables}
WHERE attached.organisation = %(organisation)s AND attached.vector_store = %(vector_store)s
    AND (%(status)s::text IS NULL OR attached.status = %(status)s)
    AND (attached.created_at, attached.file) > (%(from_at)s::timestamptz, %(from_id)s)
    AND (attached.created_at, attached.file) < (%(to_at)s::timestamptz, %(to_id)s)
ORDER BY attached.created_at, attached.file
LIMIT %(limit)s;

-- name: newest_of_batch
SELECT {columns} FROM {tables}
WHERE attached.organisation = %(organisation)s AND attached.vector_store = %(vector_store)s
    AND EXISTS (SELECT FROM file_batch_members AS member
        WHERE (member.organisation, member.batch, member.file)
            = (attached.organisation, %(batch)s, attached.file))
    AND (%(status)s::text IS NULL OR attached.status = %(status)s)
    AND (attached.created_at, attached.file) < (%(from_at)s::timestamptz, %(from_id)s)
    AND (attached.created_at, attached.file) > (%(to_at)s::timestamptz, %(to_id)s)
ORDER BY attached.created_at DESC, attached.file DESC
LIMIT %(limit)s;

-- name: oldest_of_batch
SELECT {columns} FROM {tables}
WHERE attached.organisation = %(organisation)s AND attached.vector_store = %(vector_store)s
    AND EXISTS (SELECT FROM file_batch_members AS member
        WHERE (member.organisation, member.batch, member.file)
            = (attached.organisation, %(batch)s, attached.file))
    AND (%(status)s::text IS NULL OR attached.status = %(status)s)
    AND (attached.created_at, attached.file) > (%(from_at)s::timestamptz, %(from_id)s)
    AND (attached.created_at, attached.file) < (%(to_at)s::timestamptz, %(to_id)s)
ORDER BY attached.created_at, attached.file
LIMIT %(limit)s;

-- name: places  a detached file keeps its place in lists by the creation time of its jobs
SELECT min(made), max(made)
FROM (
    SELECT 1 AS rank, created_at AS made FROM vector_store_files
    WHERE organisation = %(organisation)s AND vector_store = %(vector_store)s AND file = %(id)s
    UNION ALL
    SELECT 2, created_at FROM jobs
    WHERE organisation = %(organisation)s AND subject = %(id)s AND kind = %(kind)s
        AND input ->> 'vector_store' = %(vector_store)s
) AS found
GROUP BY rank
ORDER BY rank
LIMIT 1;

-- name: set_attributes
UPDATE vector_store_files SET attributes = %(attributes)s
WHERE organisation = %(organisation)s AND vector_store = %(vector_store)s AND file = %(file)s;

-- name: detach
DELETE FROM vector_store_files
WHERE organisation = %(organisation)s AND vector_store = %(vector_store)s AND file = %(file)s;

-- name: leave_batches  a file that is no longer searchable counts as cancelled in its batches
UPDATE file_batch_members SET job = NULL,
    status = CASE status WHEN 'failed' THEN 'failed' ELSE 'cancelled' END
WHERE organisation = %(organisation)s AND vector_store = %(vector_store)s AND file = %(file)s;

-- name: holders  also deleted stores that still hold rows
SELECT vector_stores.id, vector_stores.collection
FROM vector_stores
JOIN vector_store_files AS attached
    ON (attached.organisation, attached.vector_store) = (vector_stores.organisation, vector_stores.id)
WHERE attached.organisation = %(organisation)s AND attached.file = %(file)s
ORDER BY vector_stores.id;

-- name: record_status  a job that another one replaced changes nothing
UPDATE vector_store_files
SET status = %(status)s, error_code = %(error_code)s, error = %(error)s,
    usage_bytes = coalesce(%(usage_bytes)s, usage_bytes),
    failed_pages = coalesce(%(failed_pages)s, failed_pages)
WHERE organisation = %(organisation)s AND vector_store = %(vector_store)s AND file = %(file)s
    AND job = %(job)s;
