-- name: exists
SELECT 1 FROM organisations WHERE id = %(organisation)s;

-- name: ensure
INSERT INTO organisations (id, name) VALUES (%(organisation)s, %(organisation)s) ON CONFLICT (id) DO NOTHING;

-- name: storage_limits
SELECT files_limit, bytes_limit FROM organisations WHERE id = %(organisation)s;

-- name: lock
SELECT deleted_at FROM organisations WHERE id = %(organisation)s FOR NO KEY UPDATE;

-- name: insert  returns no row if the id is taken
INSERT INTO organisations (id, name, time_zone, billing_day, weight, concurrency_limit, files_limit, bytes_limit,
    requests_per_minute, tokens_per_minute, jobs_limit, vectors_limit)
VALUES (%(id)s, %(name)s, %(time_zone)s, %(billing_day)s, %(weight)s, %(concurrency_limit)s, %(files_limit)s,
    %(bytes_limit)s, %(requests_per_minute)s, %(tokens_per_minute)s, %(jobs_limit)s, %(vectors_limit)s)
ON CONFLICT (id) DO NOTHING
RETURNING {columns};

-- name: get
SELECT {columns} FROM organisations WHERE id = %(id)s;

-- name: update
UPDATE organisations
SET name = %(name)s, time_zone = %(time_zone)s, billing_day = %(billing_day)s, weight = %(weight)s,
    concurrency_limit = %(concurrency_limit)s, files_limit = %(files_limit)s, bytes_limit = %(bytes_limit)s,
    requests_per_minute = %(requests_per_minute)s, tokens_per_minute = %(tokens_per_minute)s, jobs_limit = %(jobs_limit)s,
    vectors_limit = %(vectors_limit)s
WHERE id = %(id)s
RETURNING {columns};

-- name: limit_vectors  null: no limit; the first limit counts what is stored
SELECT set_vector_quota(%(organisation)s, '', %(limit)s);

-- name: newest
SELECT {columns}
FROM organisations
WHERE (created_at, id) < (%(from_at)s::timestamptz, %(from_id)s)
    AND (created_at, id) > (%(to_at)s::timestamptz, %(to_id)s)
ORDER BY created_at DESC, id DESC
LIMIT %(limit)s;

-- name: oldest
SELECT {columns}
FROM organisations
WHERE (created_at, id) > (%(from_at)s::timestamptz, %(from_id)s)
    AND (created_at, id) < (%(to_at)s::timestamptz, %(to_id)s)
ORDER BY created_at, id
LIMIT %(limit)s;

-- name: places
SELECT created_at, created_at FROM organisations WHERE id = %(id)s;
