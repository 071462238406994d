-- name: mark  only a job of this transaction: the open job of a file may have been accepted earlier, for another time
UPDATE jobs SET schedule = %(schedule)s, scheduled_for = %(scheduled_for)s, run_window = %(run_window)s
WHERE organisation = %(organisation)s AND id = %(id)s AND created_at = now()
RETURNING {columns};

-- name: postpone  all jobs of the line that wait for the same window
UPDATE jobs SET retry_at = %(until)s
WHERE (organisation, id) IN (
    SELECT organisation, id FROM jobs
    WHERE organisation = %(organisation)s AND priority_class = %(priority_class)s AND state = 'queued' AND run_window = %(run_window)s
        AND (retry_at IS NULL OR retry_at <= now())
    ORDER BY id
    LIMIT %(limit)s
    FOR UPDATE SKIP LOCKED);
