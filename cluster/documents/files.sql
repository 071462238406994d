-- Statements whose name ends in _of_all are for upkeep. They read all organisations and return each one.

-- name: lock_storage  transactions that add files to a limited organisation run one after the other
SELECT pg_advisory_xact_lock(hashtextextended(%(organisation)s || '/quota', 0));

-- name: key_limits  of the key that asks for the file
SELECT files_limit, bytes_limit FROM api_keys
WHERE organisation = %(organisation)s AND id = %(key)s AND (files_limit IS NOT NULL OR bytes_limit IS NOT NULL);

-- name: kept_by_key  files and pending uploads
SELECT count(*), coalesce(sum(bytes), 0)::bigint
FROM (
    SELECT bytes FROM files WHERE organisation = %(organisation)s AND key = %(key)s
    UNION ALL
    SELECT bytes FROM uploads WHERE organisation = %(organisation)s AND key = %(key)s AND status = 'pending'
        AND expires_at > now()
) AS kept;

-- name: kept  files and pending uploads
SELECT
    (SELECT count(*) FROM files WHERE organisation = %(organisation)s)
        + (SELECT count(*) FROM uploads WHERE organisation = %(organisation)s AND status = 'pending'
            AND expires_at > now()) AS files,
    (SELECT coalesce(sum(bytes), 0)::bigint FROM files WHERE organisation = %(organisation)s)
        + (SELECT coalesce(sum(bytes), 0)::bigint FROM uploads
            WHERE organisation = %(organisation)s AND status = 'pending' AND expires_at > now()) AS bytes;

-- name: lock_blob  transactions that name a blob in a row and those that delete it take turns
SELECT pg_advisory_xact_lock(hashtextextended(%(organisation)s || '/blob/' || %(sha256)s, 0));

-- name: blob_needed
SELECT
    EXISTS (SELECT FROM files WHERE organisation = %(organisation)s AND sha256 = %(sha256)s)
    OR EXISTS (SELECT FROM upload_parts WHERE organisation = %(organisation)s AND sha256 = %(sha256)s)
    OR EXISTS (SELECT FROM batch_parts WHERE organisation = %(organisation)s AND output_sha256 = %(sha256)s)
    OR EXISTS (SELECT FROM batch_parts WHERE organisation = %(organisation)s AND error_sha256 = %(sha256)s)
    OR EXISTS (SELECT FROM batches WHERE organisation = %(organisation)s AND input_sha256 = %(sha256)s
        AND status IN ('validating', 'in_progress', 'finalizing'))
    OR %(organisation)s = 'system' AND (EXISTS (SELECT FROM usage_reports WHERE csv_sha256 = %(sha256)s)
        OR EXISTS (SELECT FROM usage_reports WHERE pdf_sha256 = %(sha256)s));

-- name: same  the file of a repeated upload: clients send no key with it, so its content is the key
SELECT organisation, id, filename, purpose, bytes, sha256, media_type, created_at, expires_at
FROM files
WHERE organisation = %(organisation)s AND sha256 = %(sha256)s AND filename = %(filename)s
    AND purpose = %(purpose)s
    AND NOT EXISTS (SELECT FROM entry_files WHERE (entry_files.organisation, entry_files.file) = (files.organisation, files.id))
    AND created_at > now() - make_interval(secs => %(within_s)s)
    AND (expires_at IS NULL OR expires_at > now())
    AND expires_at - created_at IS NOT DISTINCT FROM make_interval(secs => %(lifetime_s)s)
ORDER BY id
LIMIT 1;

-- name: insert  ids begin with the time, so that a deleted file keeps its place in lists
INSERT INTO files (organisation, id, filename, purpose, bytes, sha256, media_type, created_at, expires_at, key)
VALUES (
    %(organisation)s,
    'file-' || lpad(to_hex((extract(epoch FROM now()) * 1000000)::bigint), 14, '0') || %(random)s,
    %(filename)s, %(purpose)s, %(bytes)s, %(sha256)s, %(media_type)s, now(),
    now() + make_interval(secs => %(lifetime_s)s), %(key)s
)
RETURNING organisation, id, filename, purpose, bytes, sha256, media_type, created_at, expires_at;

-- name: get
SELECT organisation, id, filename, purpose, bytes, sha256, media_type, created_at, expires_at
FROM files
WHERE organisation = %(organisation)s AND id = %(id)s AND (expires_at IS NULL OR expires_at > now());

-- name: keep  a deletion waits until the transaction ends
SELECT organisation, id, filename, purpose, bytes, sha256, media_type, created_at, expires_at
FROM files
WHERE organisation = %(organisation)s AND id = %(id)s AND (expires_at IS NULL OR expires_at > now())
FOR KEY SHARE;

-- name: missing  of these ids, in order
SELECT id FROM unnest(%(ids)s::text[]) AS asked (id)
WHERE NOT EXISTS (
    SELECT FROM files
    WHERE files.organisation = %(organisation)s AND files.id = asked.id
        AND (files.expires_at IS NULL OR files.expires_at > now()))
ORDER BY id;

-- name: newest
SELECT organisation, id, filename, purpose, bytes, sha256, media_type, created_at, expires_at
FROM files
WHERE organisation = %(organisation)s AND (expires_at IS NULL OR expires_at > now())
    AND (%(purpose)s::text IS NULL OR purpose = %(purpose)s)
    AND (%(after)s::text IS NULL OR id COLLATE "C" < %(after)s)
ORDER BY id COLLATE "C" DESC
LIMIT %(limit)s;

-- name: oldest
SELECT organisation, id, filename, purpose, bytes, sha256, media_type, created_at, expires_at
FROM files
WHERE organisation = %(organisation)s AND (expires_at IS NULL OR expires_at > now())
    AND (%(purpose)s::text IS NULL OR purpose = %(purpose)s)
    AND (%(after)s::text IS NULL OR id COLLATE "C" > %(after)s)
ORDER BY id COLLATE "C"
LIMIT %(limit)s;

-- name: lock  also an expired file, which can be deleted
SELECT organisation, id, filename, purpose, bytes, sha256, media_type, created_at, expires_at
FROM files
WHERE organisation = %(organisation)s AND id = %(id)s
FOR UPDATE;

-- name: delete
DELETE FROM files WHERE organisation = %(organisation)s AND id = %(id)s;

-- name: lock_many  in order of id, so that two transactions that do it do not deadlock
SELECT FROM files
WHERE organisation = %(organisation)s AND id = ANY(%(ids)s)
ORDER BY id
FOR UPDATE;

-- name: delete_many
DELETE FROM files
WHERE organisation = %(organisation)s AND id = ANY(%(ids)s)
RETURNING organisation, id, filename, purpose, bytes, sha256, media_type, created_at, expires_at;

-- name: expire_many  an expired file is not found any more, and upkeep deletes it
UPDATE files SET expires_at = now() WHERE organisation = %(organisation)s AND id = ANY(%(ids)s);

-- name: expired_of_all
SELECT organisation, id
FROM files
WHERE expires_at <= now()
ORDER BY expires_at
LIMIT %(limit)s
FOR UPDATE SKIP LOCKED;
