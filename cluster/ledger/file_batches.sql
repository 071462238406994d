-- name: insert
INSERT INTO file_batches (organisation, id, vector_store)
VALUES (%(organisation)s, %(id)s, %(vector_store)s);

-- name: get  how far its files are, and whether somebody works on one
SELECT batch.organisation, batch.id, batch.vector_store, batch.created_at, batch.cancelled_at,
       count(*) FILTER (WHERE attached.status = 'in_progress') AS in_progress,
       count(*) FILTER (WHERE attached.status = 'completed') AS completed,
       count(*) FILTER (WHERE attached.status = 'failed') AS failed,
       count(*) FILTER (WHERE attached.status = 'cancelled') AS cancelled,
       coalesce(bool_or(jobs.state = 'running'), false) AS running
FROM file_batches AS batch
LEFT JOIN vector_store_files AS attached ON (attached.organisation, attached.batch) = (batch.organisation, batch.id)
LEFT JOIN jobs ON (jobs.organisation, jobs.id) = (attached.organisation, attached.job) AND attached.status = 'in_progress'
WHERE batch.organisation = %(organisation)s AND batch.vector_store = %(vector_store)s AND batch.id = %(id)s
GROUP BY batch.organisation, batch.id;

-- name: cancel
UPDATE file_batches SET cancelled_at = coalesce(cancelled_at, now())
WHERE organisation = %(organisation)s AND vector_store = %(vector_store)s AND id = %(id)s;

-- name: open_jobs
SELECT job FROM vector_store_files
WHERE organisation = %(organisation)s AND vector_store = %(vector_store)s AND batch = %(id)s AND status = 'in_progress';
