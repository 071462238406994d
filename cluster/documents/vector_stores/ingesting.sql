-- name: ensure_batch
INSERT INTO file_batches (organisation, id, vector_store)
VALUES (%(organisation)s, %(batch)s, %(vector_store)s)
ON CONFLICT (organisation, id) DO NOTHING;

-- name: next_documents  the organisation's files that can be read, in order; of these ids, or all if there are none,
-- without the entries of containers, which follow their containers
SELECT id FROM files
WHERE organisation = %(organisation)s AND id COLLATE "C" > %(after)s
    AND (%(files)s::text[] IS NULL OR id = ANY(%(files)s))
    AND (%(files)s::text[] IS NOT NULL OR NOT EXISTS (SELECT FROM entry_files
        WHERE (entry_files.organisation, entry_files.file) = (files.organisation, files.id)))
    AND purpose = ANY(%(purposes)s) AND media_type = ANY(%(media_types)s)
    AND (expires_at IS NULL OR expires_at > now())
ORDER BY id COLLATE "C" LIMIT %(limit)s;

-- name: attached  files that are in the store, or will be when their job ends
SELECT file FROM vector_store_files
WHERE organisation = %(organisation)s AND vector_store = %(vector_store)s AND file = ANY(%(files)s)
    AND status IN ('completed', 'in_progress');

-- name: members
SELECT count(*) FROM file_batch_members WHERE organisation = %(organisation)s AND batch = %(batch)s;
