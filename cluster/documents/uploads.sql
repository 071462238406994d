-- Statements whose name ends in _of_all are for upkeep. They read all organisations and return each one.

-- name: insert
INSERT INTO uploads (organisation, id, filename, purpose, bytes, media_type, status, expires_after,
    expires_at, key)
VALUES (
    %(organisation)s, %(id)s, %(filename)s, %(purpose)s, %(bytes)s, %(media_type)s, 'pending',
    to_jsonb(%(expires_after_s)s::bigint), now() + make_interval(secs => %(lifetime_s)s), %(key)s
)
RETURNING {columns};

-- name: get
SELECT {columns} FROM uploads WHERE organisation = %(organisation)s AND id = %(id)s;

-- name: lock
SELECT {columns} FROM uploads WHERE organisation = %(organisation)s AND id = %(id)s FOR UPDATE;

-- name: parts  in the order of the ids; an unknown id gives no row
SELECT part.organisation, part.upload, part.id, part.bytes, part.sha256, part.created_at
FROM unnest(%(ids)s::text[]) WITH ORDINALITY AS wanted (id, place)
JOIN upload_parts AS part
    ON part.organisation = %(organisation)s AND part.upload = %(upload)s AND part.id = wanted.id
ORDER BY wanted.place;

-- name: arrived
SELECT coalesce(sum(bytes), 0)::bigint, count(*) FROM upload_parts WHERE organisation = %(organisation)s
    AND upload = %(upload)s;

-- name: add_part  the same bytes again are the same part
INSERT INTO upload_parts (organisation, upload, id, bytes, sha256)
VALUES (%(organisation)s, %(upload)s, %(id)s, %(bytes)s, %(sha256)s)
ON CONFLICT (organisation, upload, id) DO UPDATE SET bytes = EXCLUDED.bytes
RETURNING organisation, upload, id, bytes, sha256, created_at;

-- name: end
UPDATE uploads SET status = %(status)s WHERE organisation = %(organisation)s AND id = %(id)s;

-- name: becomes
UPDATE uploads SET file = %(file)s WHERE organisation = %(organisation)s AND id = %(id)s;

-- name: drop_parts
DELETE FROM upload_parts WHERE organisation = %(organisation)s AND upload = %(upload)s
RETURNING sha256;

-- name: expired_of_all
SELECT organisation, id
FROM uploads
WHERE status = 'pending' AND expires_at <= now() - make_interval(secs => %(grace_s)s)
ORDER BY expires_at
LIMIT %(limit)s
FOR UPDATE SKIP LOCKED;
