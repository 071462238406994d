-- name: next_files  attached files without a strategy of their own, in order
SELECT attached.file, attached.attributes FROM vector_store_files AS attached
WHERE attached.organisation = %(organisation)s AND attached.vector_store = %(vector_store)s
    AND attached.file COLLATE "C" > %(after)s AND attached.chunking_strategy IS NULL
    AND EXISTS (SELECT FROM files
        WHERE (files.organisation, files.id) = (attached.organisation, attached.file)
            AND (files.expires_at IS NULL OR files.expires_at > now()))
    AND NOT EXISTS (SELECT FROM entry_files
        WHERE (entry_files.organisation, entry_files.file) = (attached.organisation, attached.file))
ORDER BY attached.file COLLATE "C" LIMIT %(limit)s;
