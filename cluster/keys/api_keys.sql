-- name: insert
INSERT INTO api_keys (organisation, id, name, prefix, hash, scopes, models, stores, expires_at, created_by,
    requests_per_minute, tokens_per_minute, jobs_limit, files_limit, bytes_limit, vectors_limit)
VALUES (%(organisation)s, %(id)s, %(name)s, %(prefix)s, %(hash)s, %(scopes)s, %(models)s, %(stores)s,
    %(expires_at)s, %(created_by)s, %(requests_per_minute)s, %(tokens_per_minute)s, %(jobs_limit)s, %(files_limit)s,
    %(bytes_limit)s, %(vectors_limit)s)
RETURNING {columns};

-- name: count
SELECT count(*) FROM api_keys
WHERE organisation = %(organisation)s AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now());

-- name: get
SELECT {columns} FROM api_keys WHERE organisation = %(organisation)s AND id = %(id)s;

-- name: newest
SELECT {columns}
FROM api_keys
WHERE organisation = %(organisation)s
    AND (created_at, id) < (%(from_at)s::timestamptz, %(from_id)s)
    AND (created_at, id) > (%(to_at)s::timestamptz, %(to_id)s)
ORDER BY created_at DESC, id DESC
LIMIT %(limit)s;

-- name: oldest
SELECT {columns}
FROM api_keys
WHERE organisation = %(organisation)s
    AND (created_at, id) > (%(from_at)s::timestamptz, %(from_id)s)
    AND (created_at, id) < (%(to_at)s::timestamptz, %(to_id)s)
ORDER BY created_at, id
LIMIT %(limit)s;

-- name: places
SELECT created_at, created_at FROM api_keys WHERE organisation = %(organisation)s AND id = %(id)s;

-- name: change_limits
UPDATE api_keys SET requests_per_minute = %(requests_per_minute)s, tokens_per_minute = %(tokens_per_minute)s,
    jobs_limit = %(jobs_limit)s, files_limit = %(files_limit)s, bytes_limit = %(bytes_limit)s, vectors_limit = %(vectors_limit)s
WHERE organisation = %(organisation)s AND id = %(id)s
RETURNING {columns};

-- name: limit_vectors  null: no limit; the first limit counts what is stored
SELECT set_vector_quota(%(organisation)s, %(id)s, %(limit)s);

-- name: expire
UPDATE api_keys SET expires_at = %(expires_at)s WHERE organisation = %(organisation)s AND id = %(id)s;

-- name: revoke
UPDATE api_keys SET revoked_at = coalesce(revoked_at, now())
WHERE organisation = %(organisation)s AND id = %(id)s
RETURNING {columns};

-- name: revoke_all  of an organisation that is being deleted
UPDATE api_keys SET revoked_at = now() WHERE organisation = %(organisation)s AND revoked_at IS NULL;

-- name: any_working
SELECT EXISTS (SELECT FROM api_keys JOIN organisations ON organisations.id = api_keys.organisation
    WHERE revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now()) AND deleted_at IS NULL);

-- name: stores
SELECT id FROM vector_stores
WHERE organisation = %(organisation)s AND id = ANY(%(ids)s) AND deleted_at IS NULL;
