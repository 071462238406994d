-- Statements whose name ends in _of_all are for upkeep. They read all organisations and return each one.

-- name: unmeasured_of_all  organisations without an event with this id
SELECT id FROM organisations AS owner
WHERE NOT EXISTS (SELECT FROM usage_events AS event WHERE event.organisation = owner.id AND event.id = %(event)s)
ORDER BY id;

-- name: today_of_all  the beginning of the day in UTC
SELECT date_trunc('day', now(), 'UTC');

-- name: bytes_of_all  of files and of pending uploads, as the limit of an organisation counts them
SELECT organisation, sum(bytes)::bigint
FROM (
    SELECT organisation, bytes FROM files
    WHERE organisation = ANY(%(owners)s)
    UNION ALL
    SELECT organisation, bytes FROM uploads
    WHERE organisation = ANY(%(owners)s) AND status = 'pending' AND expires_at > now()
) AS stored
GROUP BY organisation;

-- name: collections_of_all
SELECT name FROM vector_collections ORDER BY name;

-- name: vectors_of_all
SELECT organisation, count(*) FROM {table} WHERE organisation = ANY(%(owners)s) GROUP BY organisation;
