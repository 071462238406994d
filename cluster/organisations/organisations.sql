-- name: exists
SELECT 1 FROM organisations WHERE id = %(organisation)s;

-- name: ensure
INSERT INTO organisations (id, name) VALUES (%(organisation)s, %(organisation)s) ON CONFLICT (id) DO NOTHING;

-- name: storage_limits
SELECT files_limit, bytes_limit FROM organisations WHERE id = %(organisation)s;

-- name: lock
SELECT deleted_at FROM organisations WHERE id = %(organisation)s FOR NO KEY UPDATE;
