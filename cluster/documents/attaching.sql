-- name: lock_many
SELECT attached.file, attached.job, attached.chunking_strategy, attached.status = 'in_progress' AND attached.job <> '' AS open,
       coalesce(jobs.state IN ('queued', 'running') AND NOT jobs.cancel_asked, false) AS goes_on
FROM vector_store_files AS attached
LEFT JOIN jobs ON (jobs.organisation, jobs.id) = (attached.organisation, attached.job)
WHERE attached.organisation = %(organisation)s AND attached.vector_store = %(vector_store)s AND attached.file = ANY(%(files)s)
ORDER BY attached.file
FOR UPDATE OF attached;

-- name: members_follow  those that waited for the old job
UPDATE file_batch_members AS member SET job = new.job
FROM unnest(%(old)s::text[], %(new)s::text[]) AS new (old, job)
WHERE member.organisation = %(organisation)s AND member.job = new.old AND member.status = 'in_progress';

-- name: successor
SELECT job FROM vector_store_files
WHERE organisation = %(organisation)s AND vector_store = %(vector_store)s AND file = %(file)s;

-- name: files  those of the organisation's that are there, and have not expired
SELECT id, purpose FROM files
WHERE organisation = %(organisation)s AND id = ANY(%(files)s) AND (expires_at IS NULL OR expires_at > now());
