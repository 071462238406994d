-- name: insert  attached files keep their rows; the order prevents deadlocks between callers that attach many
INSERT INTO vector_store_files (organisation, vector_store, file, document, status, job)
SELECT %(organisation)s, %(vector_store)s, file, document, 'in_progress', ''
FROM unnest(%(files)s::text[], %(documents)s::text[]) AS new (file, document)
ORDER BY file
ON CONFLICT (organisation, vector_store, file) DO NOTHING;

-- name: attach
UPDATE vector_store_files AS attached
SET status = 'in_progress', error_code = NULL, error = NULL, job = new.job,
    attributes = new.attributes::jsonb,
    chunking_strategy = new.chunking_strategy::jsonb, ocr = new.ocr, ocr_languages = new.ocr_languages
FROM unnest(%(files)s::text[], %(jobs)s::text[], %(attributes)s::text[], %(strategies)s::text[],
        %(modes)s::text[], %(languages)s::text[])
    AS new (file, job, attributes, chunking_strategy, ocr, ocr_languages)
WHERE attached.organisation = %(organisation)s AND attached.vector_store = %(vector_store)s
    AND attached.file = new.file;

-- name: add_members
INSERT INTO file_batch_members (organisation, batch, vector_store, file, job, status)
SELECT %(organisation)s, %(batch)s, %(vector_store)s, file, job, 'in_progress'
FROM unnest(%(files)s::text[], %(jobs)s::text[]) AS new (file, job);

-- name: lock_many
SELECT attached.file, attached.job,
       attached.status = 'in_progress' AND attached.job <> '' AS is_open,
       coalesce(jobs.state IN ('queued', 'running') AND NOT jobs.cancel_asked, false) AS continues,
       attached.chunking_strategy, attached.ocr, attached.ocr_languages
FROM vector_store_files AS attached
LEFT JOIN jobs ON (jobs.organisation, jobs.id) = (attached.organisation, attached.job)
WHERE attached.organisation = %(organisation)s AND attached.vector_store = %(vector_store)s
    AND attached.file = ANY(%(files)s)
ORDER BY attached.file
FOR UPDATE OF attached;

-- name: members_follow  members that wait for the old job
UPDATE file_batch_members AS member SET job = new.job
FROM unnest(%(old)s::text[], %(new)s::text[]) AS new (old, job)
WHERE member.organisation = %(organisation)s AND member.job = new.old AND member.status = 'in_progress';

-- name: successor
SELECT job FROM vector_store_files
WHERE organisation = %(organisation)s AND vector_store = %(vector_store)s AND file = %(file)s;

-- name: files  expired files do not count
SELECT id, purpose FROM files
WHERE organisation = %(organisation)s AND id = ANY(%(files)s) AND (expires_at IS NULL OR expires_at > now());
