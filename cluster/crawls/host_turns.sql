-- Statements on hosts concern every organisation.

-- name: settings_of_all  a crash of the server can lose the last requests
SELECT set_config('synchronous_commit', 'off', true);

-- name: lock_of_all  other takers wait until the transaction ends, and then see its rows
INSERT INTO crawl_hosts (host, next_at) VALUES (%(host)s, clock_timestamp())
ON CONFLICT (host) DO UPDATE SET host = excluded.host;

-- name: take_of_all  begins a request if the host may get one; otherwise says when to ask again
WITH host AS MATERIALIZED (
    SELECT next_at, clock_timestamp() AS now,
        (SELECT count(*) FROM crawl_requests WHERE crawl_requests.host = %(host)s AND until > clock_timestamp()) AS requests
    FROM crawl_hosts WHERE host = %(host)s
),
begun AS (
    INSERT INTO crawl_requests (host, id, until)
    SELECT %(host)s, %(id)s, now + make_interval(secs => %(lease_s)s)
    FROM host WHERE next_at <= now AND requests < %(at_once)s
    RETURNING host
),
moved AS (
    UPDATE crawl_hosts SET next_at = host.now + make_interval(secs => %(interval_s)s)
    FROM host, begun WHERE crawl_hosts.host = begun.host
)
SELECT EXISTS (SELECT FROM begun), greatest(0, extract(epoch FROM next_at - now))::float8, requests >= %(at_once)s FROM host;

-- name: end_of_all  also forgets requests whose processes died
DELETE FROM crawl_requests WHERE host = %(host)s AND (id = %(id)s OR until <= clock_timestamp());

-- name: hold_back_of_all
UPDATE crawl_hosts SET next_at = greatest(next_at, clock_timestamp() + make_interval(secs => %(wait_s)s))
WHERE host = %(host)s;

-- name: forget_of_all  hosts that got no request for a day
DELETE FROM crawl_hosts WHERE next_at < now() - interval '1 day'
    AND NOT EXISTS (SELECT FROM crawl_requests WHERE crawl_requests.host = crawl_hosts.host AND until > now());
