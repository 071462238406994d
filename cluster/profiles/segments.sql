-- name: lock  requests that create segments of one organisation wait for each other
SELECT pg_advisory_xact_lock(hashtextextended('segments of ' || %(organisation)s, 0));

-- name: existing  the number of segments, and whether one has the name
SELECT count(*), count(*) FILTER (WHERE name = %(name)s) FROM customer_segments WHERE organisation = %(organisation)s;

-- name: insert
INSERT INTO customer_segments (organisation, id, name, filters)
VALUES (%(organisation)s, %(id)s, %(name)s, %(filters)s);

-- name: get
SELECT id, name, filters, created_at FROM customer_segments WHERE organisation = %(organisation)s AND id = %(id)s;

-- name: newest
SELECT id, name, filters, created_at FROM customer_segments
WHERE organisation = %(organisation)s
  AND (created_at, id) < (%(from_at)s::timestamptz, %(from_id)s)
  AND (created_at, id) > (%(to_at)s::timestamptz, %(to_id)s)
ORDER BY created_at DESC, id DESC
LIMIT %(limit)s;

-- name: oldest
SELECT id, name, filters, created_at FROM customer_segments
WHERE organisation = %(organisation)s
  AND (created_at, id) > (%(from_at)s::timestamptz, %(from_id)s)
  AND (created_at, id) < (%(to_at)s::timestamptz, %(to_id)s)
ORDER BY created_at, id
LIMIT %(limit)s;

-- name: places
SELECT min(created_at), max(created_at) FROM customer_segments WHERE organisation = %(organisation)s AND id = %(id)s;

-- name: delete
DELETE FROM customer_segments WHERE organisation = %(organisation)s AND id = %(id)s;
