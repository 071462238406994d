-- name: announce
SELECT pg_advisory_lock_shared(%(namespace)s::integer, %(code)s::integer);

-- name: withdraw
SELECT pg_advisory_unlock_all();

-- name: announced
SELECT DISTINCT objid::bigint FROM pg_locks
WHERE locktype = 'advisory' AND objsubid = 2 AND classid::bigint = %(namespace)s
    AND database = (SELECT oid FROM pg_database WHERE datname = current_database());
