-- name: get
SELECT {columns} FROM jobs
WHERE organisation = %(organisation)s AND id = %(id)s;

-- name: lines_of_all  each priority class of each organisation, without jobs whose start time has not come
SELECT line.*, organisations.concurrency_limit,
    CASE WHEN concurrency_limit IS NULL OR running < concurrency_limit THEN oldest END AS oldest_permitted
FROM (
    SELECT organisation, priority_class,
        count(*) FILTER (WHERE state = 'queued') AS queued,
        count(*) FILTER (WHERE state = 'running' AND NOT by_command) AS running,
        min(coalesce(retry_at, created_at)) FILTER (WHERE state = 'queued') AS oldest
    FROM jobs
    WHERE state = 'running' OR state = 'queued' AND (retry_at IS NULL OR retry_at <= now())
    GROUP BY organisation, priority_class
) AS line
JOIN organisations ON organisations.id = line.organisation;

-- name: backlog_of_all  of all organisations, without jobs above a concurrency limit; {lines} is lines_of_all
SELECT coalesce(sum(greatest(least(queued, concurrency_limit - running), 0)), 0)::bigint,
    coalesce(extract(epoch FROM now() - min(oldest_permitted)), 0)::float8,
    coalesce(sum(running), 0)::bigint
FROM ({lines}) AS line;
