-- The organisation NULL means all organisations. Row-level security still limits the rows to those that the caller may read.

-- name: unfinished  jobs that wait or run; a job whose start time has not come does not count for the wait
SELECT kind, priority_class,
    count(*) FILTER (WHERE state = 'queued')::bigint AS queued,
    count(*) FILTER (WHERE state = 'running')::bigint AS running,
    coalesce(extract(epoch FROM now() - min(coalesce(retry_at, created_at))
        FILTER (WHERE state = 'queued' AND (retry_at IS NULL OR retry_at <= now()))), 0)::float8 AS oldest_wait_s
FROM jobs
WHERE state IN ('queued', 'running') AND (%(organisation)s::text IS NULL OR organisation = %(organisation)s)
GROUP BY kind, priority_class;

-- name: ended  jobs that ended lately
SELECT kind, state, count(*)::bigint FROM jobs
WHERE finished_at > now() - make_interval(secs => %(within_s)s)
    AND (%(organisation)s::text IS NULL OR organisation = %(organisation)s)
GROUP BY kind, state;

-- name: dead_letters
SELECT kind, count(*)::bigint FROM jobs
WHERE state = 'failed' AND (%(organisation)s::text IS NULL OR organisation = %(organisation)s)
GROUP BY kind;

-- name: tokens  embedded lately; one look into the index for each organisation
SELECT coalesce(sum(lately.quantity), 0)::bigint
FROM organisations CROSS JOIN LATERAL (
    SELECT quantity FROM usage_events AS event
    WHERE event.organisation = organisations.id AND event.kind = 'embedding'
        AND event.at > now() - make_interval(secs => %(within_s)s)
) AS lately
WHERE %(organisation)s::text IS NULL OR organisations.id = %(organisation)s;
