-- name: last_of_all  the last event so far: a reader of the changes begins here
SELECT coalesce(max(id), 0)::bigint FROM job_events;

-- name: changed_of_all  the jobs of some organisations that have events after an id, with the ids of these events; a limit for each organisation, so that none hides the jobs of another
SELECT {columns}, changed.events
FROM (
    SELECT organisation, job, max(id) AS last_event, array_agg(id) AS events,
        row_number() OVER (PARTITION BY organisation ORDER BY max(id) DESC) AS place
    FROM job_events
    WHERE id > %(after)s AND organisation = ANY(%(organisations)s)
    GROUP BY organisation, job
) AS changed
JOIN jobs ON jobs.organisation = changed.organisation AND jobs.id = changed.job
WHERE changed.place <= %(limit)s
ORDER BY changed.last_event DESC;
