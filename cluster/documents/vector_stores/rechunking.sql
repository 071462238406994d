-- name: next_files  attached files that use a changed option of the store, in order
SELECT attached.file, attached.attributes, attached.chunking_strategy, attached.ocr, attached.ocr_languages
FROM vector_store_files AS attached
WHERE attached.organisation = %(organisation)s AND attached.vector_store = %(vector_store)s
    AND attached.file COLLATE "C" > %(after)s
    AND ('chunking_strategy' = ANY(%(changed)s) AND attached.chunking_strategy IS NULL
        OR 'ocr' = ANY(%(changed)s) AND attached.ocr IS NULL
        OR 'ocr_languages' = ANY(%(changed)s) AND attached.ocr_languages IS NULL)
    AND EXISTS (SELECT FROM files
        WHERE (files.organisation, files.id) = (attached.organisation, attached.file)
            AND (files.expires_at IS NULL OR files.expires_at > now()))
    AND NOT EXISTS (SELECT FROM entry_files
        WHERE (entry_files.organisation, entry_files.file) = (attached.organisation, attached.file))
ORDER BY attached.file COLLATE "C" LIMIT %(limit)s;
