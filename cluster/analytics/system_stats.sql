-- name: count
INSERT INTO system_stats (organisation, vector_stores, files, documents, chunks, bytes, jobs, retries, dead_letters)
SELECT %(organisation)s,
    (SELECT count(*) FROM vector_stores WHERE organisation = %(organisation)s AND deleted_at IS NULL),
    file.files, document.documents, document.chunks, file.bytes, job.jobs, job.retries, job.dead_letters
FROM (
    SELECT count(*) AS files, coalesce(sum(bytes), 0) AS bytes FROM files WHERE organisation = %(organisation)s
) AS file, (
    SELECT count(*) AS documents, coalesce(sum(document.chunks), 0) AS chunks
    FROM documents AS document JOIN vector_stores AS store
        ON (store.organisation, store.id) = (document.organisation, document.vector_store)
    WHERE document.organisation = %(organisation)s AND document.content_hash IS NOT NULL AND store.deleted_at IS NULL
) AS document, (
    SELECT coalesce(jsonb_object_agg(state, jobs), '{}') AS jobs, coalesce(sum(retries), 0) AS retries,
        coalesce(sum(dead_letters), 0) AS dead_letters
    FROM (
        SELECT state, count(*) AS jobs, sum(attempt - 1) AS retries,
            count(*) FILTER (WHERE state = 'failed' AND kind <> ALL (%(not_retryable)s)) AS dead_letters
        FROM jobs WHERE organisation = %(organisation)s GROUP BY state
    ) AS by_state
) AS job
ON CONFLICT (organisation) DO UPDATE SET (vector_stores, files, documents, chunks, bytes, jobs, retries, dead_letters,
    computed_at) = (excluded.vector_stores, excluded.files, excluded.documents, excluded.chunks, excluded.bytes,
    excluded.jobs, excluded.retries, excluded.dead_letters, now());

-- name: get
SELECT vector_stores, files, documents, chunks, bytes, jobs, retries, dead_letters, computed_at
FROM system_stats WHERE organisation = %(organisation)s;
