-- name: lock_name  of concurrent callers with the same new name, one creates the store
SELECT pg_advisory_xact_lock(hashtextextended('store/' || %(organisation)s || '/' || %(name)s, 0));

-- name: insert  returns no row where the id is taken
INSERT INTO vector_stores (organisation, id, name, description, collection, fingerprint_id, fingerprint,
    metadata, chunking_strategy, expires_after, expires_at, partial, ocr, ocr_languages,
    index, key)
VALUES (%(organisation)s, %(id)s, %(name)s, %(description)s, %(collection)s, %(fingerprint_id)s,
    %(fingerprint)s, %(metadata)s, %(chunking_strategy)s, %(expires_after)s,
    now() + make_interval(days => (%(expires_after)s::jsonb ->> 'days')::int), %(partial)s,
    %(ocr)s, %(ocr_languages)s, %(index)s, %(key)s)
ON CONFLICT (organisation, id) DO NOTHING
RETURNING {columns};

-- name: find  several stores can have one name: the oldest wins
SELECT {columns}
FROM vector_stores
WHERE organisation = %(organisation)s AND (id = %(id_or_name)s OR name = %(id_or_name)s AND name <> '')
    AND deleted_at IS NULL AND NOT {expired}
ORDER BY (id = %(id_or_name)s) DESC, created_at, id
LIMIT 1;

-- name: get  also an expired store
SELECT {columns}
FROM vector_stores
WHERE organisation = %(organisation)s AND id = %(id)s AND deleted_at IS NULL;

-- name: lock
SELECT {columns}
FROM vector_stores
WHERE organisation = %(organisation)s AND id = %(id)s AND deleted_at IS NULL
FOR NO KEY UPDATE;

-- name: newest
SELECT {columns}
FROM vector_stores
WHERE organisation = %(organisation)s AND deleted_at IS NULL
    AND (%(only)s::text[] IS NULL OR id = ANY(%(only)s))
    AND (created_at, id) < (%(from_at)s::timestamptz, %(from_id)s)
    AND (created_at, id) > (%(to_at)s::timestamptz, %(to_id)s)
ORDER BY created_at DESC, id DESC
LIMIT %(limit)s;

-- name: oldest
SELECT {columns}
FROM vector_stores
WHERE organisation = %(organisation)s AND deleted_at IS NULL
    AND (%(only)s::text[] IS NULL OR id = ANY(%(only)s))
    AND (created_at, id) > (%(from_at)s::timestamptz, %(from_id)s)
    AND (created_at, id) < (%(to_at)s::timestamptz, %(to_id)s)
ORDER BY created_at, id
LIMIT %(limit)s;

-- name: places  of a deleted store, the job that deletes it has the creation time
SELECT min(made), max(made)
FROM (
    SELECT created_at AS made FROM vector_stores WHERE organisation = %(organisation)s AND id = %(id)s
    UNION ALL
    SELECT (input ->> 'made')::timestamptz FROM jobs
    WHERE organisation = %(organisation)s AND subject = %(id)s AND kind = %(kind)s
) AS found;

-- name: update  a change counts as activity
UPDATE vector_stores
SET name = %(name)s, description = %(description)s, metadata = %(metadata)s,
    expires_after = %(expires_after)s, partial = %(partial)s, ocr = %(ocr)s, ocr_languages = %(ocr_languages)s,
    chunking_strategy = %(chunking_strategy)s,
    last_active_at = now(),
    expires_at = now() + make_interval(days => (%(expires_after)s::jsonb ->> 'days')::int)
WHERE organisation = %(organisation)s AND id = %(id)s
RETURNING {columns};

-- name: touch  skips a locked row, and a row written within the last minute
UPDATE vector_stores
SET last_active_at = now(), expires_at = now() + make_interval(days => (expires_after ->> 'days')::int)
WHERE organisation = %(organisation)s AND id = (
    SELECT id FROM vector_stores
    WHERE organisation = %(organisation)s AND id = %(id)s AND deleted_at IS NULL AND NOT {expired}
        AND last_active_at < now() - interval '1 minute'
    FOR NO KEY UPDATE SKIP LOCKED);

-- name: delete
UPDATE vector_stores SET deleted_at = now()
WHERE organisation = %(organisation)s AND id = %(id)s AND deleted_at IS NULL
RETURNING created_at;
