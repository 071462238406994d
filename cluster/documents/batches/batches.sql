-- Statements whose name ends in _of_all are for upkeep. They read all organisations and return each one.

-- name: insert
INSERT INTO batches (organisation, id, endpoint, input_file, input_sha256, completion_window, metadata,
    output_lifetime_s, job, expires_at)
VALUES (%(organisation)s, %(id)s, %(endpoint)s, %(input_file)s, %(input_sha256)s, %(completion_window)s, %(metadata)s,
    %(output_lifetime_s)s, %(job)s, coalesce(%(begins_at)s, now()) + make_interval(secs => %(window_s)s));

-- name: get
SELECT {columns} FROM batches {with_job}
WHERE batches.organisation = %(organisation)s AND batches.id = %(id)s;

-- name: lock
SELECT {columns} FROM batches {with_job}
WHERE batches.organisation = %(organisation)s AND batches.id = %(id)s
FOR UPDATE OF batches;

-- name: newest
SELECT {columns} FROM batches {with_job}
WHERE batches.organisation = %(organisation)s
  AND (batches.created_at, batches.id) < (%(from_at)s::timestamptz, %(from_id)s)
  AND (batches.created_at, batches.id) > (%(to_at)s::timestamptz, %(to_id)s)
ORDER BY batches.created_at DESC, batches.id DESC
LIMIT %(limit)s;

-- name: oldest
SELECT {columns} FROM batches {with_job}
WHERE batches.organisation = %(organisation)s
  AND (batches.created_at, batches.id) > (%(from_at)s::timestamptz, %(from_id)s)
  AND (batches.created_at, batches.id) < (%(to_at)s::timestamptz, %(to_id)s)
ORDER BY batches.created_at, batches.id
LIMIT %(limit)s;

-- name: places
SELECT min(created_at), max(created_at) FROM batches WHERE organisation = %(organisation)s AND id = %(id)s;

-- name: cancel
UPDATE batches SET cancelling_at = coalesce(cancelling_at, now())
WHERE organisation = %(organisation)s AND id = %(id)s;

-- name: begin
UPDATE batches SET status = 'in_progress', in_progress_at = now(), total = %(total)s, fingerprints = %(fingerprints)s
WHERE organisation = %(organisation)s AND id = %(id)s;

-- name: finalise
UPDATE batches SET status = 'finalizing', finalizing_at = coalesce(finalizing_at, now())
WHERE organisation = %(organisation)s AND id = %(id)s;

-- name: add_part
INSERT INTO batch_parts (organisation, batch, first_line, output_sha256, error_sha256)
VALUES (%(organisation)s, %(id)s, %(first_line)s, %(output_sha256)s, %(error_sha256)s);

-- name: count_part
UPDATE batches SET next_line = %(next_line)s, completed = completed + %(completed)s, failed = failed + %(failed)s,
    tokens = tokens || %(tokens)s
WHERE organisation = %(organisation)s AND id = %(id)s;

-- name: parts
SELECT output_sha256, error_sha256 FROM batch_parts
WHERE organisation = %(organisation)s AND batch = %(id)s
ORDER BY first_line;

-- name: drop_parts
DELETE FROM batch_parts WHERE organisation = %(organisation)s AND batch = %(id)s
RETURNING output_sha256, error_sha256;

-- name: end
UPDATE batches SET status = %(status)s, errors = %(errors)s, failed = failed + %(unanswered)s,
    output_file = %(output_file)s, error_file = %(error_file)s,
    cancelling_at = CASE WHEN %(status)s = 'cancelled' THEN coalesce(cancelling_at, now()) ELSE cancelling_at END,
    completed_at = CASE WHEN %(status)s = 'completed' THEN now() END,
    failed_at = CASE WHEN %(status)s = 'failed' THEN now() END,
    expired_at = CASE WHEN %(status)s = 'expired' THEN now() END,
    cancelled_at = CASE WHEN %(status)s = 'cancelled' THEN now() END
WHERE organisation = %(organisation)s AND id = %(id)s;

-- name: abandoned_of_all  open batches without a job that will end them, or past their completion window
SELECT batches.organisation, batches.id FROM batches {with_job}
WHERE batches.status IN ('validating', 'in_progress', 'finalizing')
  AND (jobs.state IS NULL OR jobs.state IN ('succeeded', 'failed', 'cancelled')
       OR jobs.state = 'queued' AND batches.expires_at <= now())
ORDER BY batches.expires_at
LIMIT %(limit)s;
