-- name: mark
UPDATE organisations SET deleted_at = now(), deletion_job = %(job)s WHERE id = %(organisation)s;

-- name: revoke_keys
UPDATE api_keys SET revoked_at = now() WHERE organisation = %(organisation)s AND revoked_at IS NULL;

-- name: open_jobs
SELECT id FROM jobs WHERE organisation = %(organisation)s AND state IN ('queued', 'running') ORDER BY id LIMIT 500;

-- name: running_jobs  and queued ones that the last call did not reach
SELECT count(*) FROM jobs WHERE organisation = %(organisation)s AND state IN ('queued', 'running');

-- name: mark_stores
UPDATE vector_stores SET deleted_at = now() WHERE organisation = %(organisation)s AND deleted_at IS NULL;

-- name: stores
SELECT id FROM vector_stores WHERE organisation = %(organisation)s ORDER BY id;

-- name: outbox
SELECT index, count(*) FROM vector_outbox WHERE organisation = %(organisation)s GROUP BY index;

-- name: delete_turns
DELETE FROM procrastinate_jobs WHERE args ->> 'organisation' = %(organisation)s AND status = 'todo';

-- name: columns  of ordinary tables of this schema that name an organisation
SELECT DISTINCT relation.relname, attribute.attname
FROM pg_class AS relation
JOIN pg_attribute AS attribute ON attribute.attrelid = relation.oid AND attribute.attnum > 0 AND NOT attisdropped
LEFT JOIN pg_constraint AS reference ON reference.conrelid = relation.oid AND reference.contype = 'f'
    AND reference.confrelid = 'organisations'::regclass AND attribute.attnum = reference.conkey[1]
WHERE relation.relkind = 'r'
    AND relation.relnamespace = (SELECT relnamespace FROM pg_class WHERE oid = 'organisations'::regclass)
    AND (attribute.attname = 'organisation' OR reference.oid IS NOT NULL);

-- name: references  each pair of a referring table and the table that it refers to
SELECT DISTINCT referring.relname, referred.relname
FROM pg_constraint AS reference
JOIN pg_class AS referring ON referring.oid = reference.conrelid
JOIN pg_class AS referred ON referred.oid = reference.confrelid
WHERE reference.contype = 'f';

-- name: wait_for_insertions  each open one holds a lock of the foreign key on this row
SELECT 1 FROM organisations WHERE id = %(organisation)s FOR UPDATE;
