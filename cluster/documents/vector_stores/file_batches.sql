-- name: insert
INSERT INTO file_batches (organisation, id, vector_store)
VALUES (%(organisation)s, %(id)s, %(vector_store)s);

-- name: get
SELECT batch.organisation, batch.id, batch.vector_store, batch.created_at, batch.cancelled_at,
       count(*) FILTER (WHERE member.status = 'in_progress') AS in_progress,
       count(*) FILTER (WHERE member.status = 'completed') AS completed,
       count(*) FILTER (WHERE member.status = 'failed') AS failed,
       count(*) FILTER (WHERE member.status = 'cancelled') AS cancelled,
       coalesce(bool_or(jobs.state = 'running'), false) AS running
FROM file_batches AS batch
LEFT JOIN file_batch_members AS member ON (member.organisation, member.batch) = (batch.organisation, batch.id)
LEFT JOIN jobs ON (jobs.organisation, jobs.id) = (member.organisation, member.job)
    AND member.status = 'in_progress'
WHERE batch.organisation = %(organisation)s AND batch.vector_store = %(vector_store)s AND batch.id = %(id)s
GROUP BY batch.organisation, batch.id;

-- name: lock
SELECT cancelled_at FROM file_batches
WHERE organisation = %(organisation)s AND vector_store = %(vector_store)s AND id = %(id)s
FOR UPDATE;

-- name: cancel
UPDATE file_batches SET cancelled_at = coalesce(cancelled_at, now())
WHERE organisation = %(organisation)s AND vector_store = %(vector_store)s AND id = %(id)s;

-- name: open_jobs  shared: another batch waits for the same job
SELECT member.job, EXISTS (
    SELECT FROM file_batch_members AS other
    JOIN file_batches ON (file_batches.organisation, file_batches.id) = (other.organisation, other.batch)
    WHERE (other.organisation, other.job) = (member.organisation, member.job) AND other.batch <> member.batch
      AND other.status = 'in_progress' AND file_batches.cancelled_at IS NULL) AS shared
FROM file_batch_members AS member
WHERE member.organisation = %(organisation)s AND member.batch = %(id)s AND member.status = 'in_progress'
    AND member.job IS NOT NULL
ORDER BY member.job;

-- name: leave  members whose job continues for another batch
UPDATE file_batch_members SET status = 'cancelled', job = NULL
WHERE organisation = %(organisation)s AND batch = %(id)s AND job = ANY(%(jobs)s);
