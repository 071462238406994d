-- name: lock  in order of file, so that two transactions that do it do not deadlock
SELECT file, document, job, status FROM vector_store_files
WHERE organisation = %(organisation)s AND vector_store = %(vector_store)s AND file = ANY(%(files)s)
ORDER BY file
FOR UPDATE;

-- name: delete_documents
DELETE FROM documents WHERE organisation = %(organisation)s AND id = ANY(%(documents)s);

-- name: detach
DELETE FROM vector_store_files
WHERE organisation = %(organisation)s AND vector_store = %(vector_store)s AND file = ANY(%(files)s);

-- name: leave_batches  an entry that is no longer searchable counts as cancelled in its batches
UPDATE file_batch_members SET job = NULL,
    status = CASE status WHEN 'failed' THEN 'failed' ELSE 'cancelled' END
WHERE organisation = %(organisation)s AND vector_store = %(vector_store)s AND file = ANY(%(files)s);

-- name: holders  of these entries, also deleted stores that still hold rows
SELECT attached.vector_store, store.collection, array_agg(attached.file ORDER BY attached.file)
FROM vector_store_files AS attached
JOIN vector_stores AS store
    ON (store.organisation, store.id) = (attached.organisation, attached.vector_store)
WHERE attached.organisation = %(organisation)s AND attached.file = ANY(%(files)s)
GROUP BY attached.vector_store, store.collection
ORDER BY attached.vector_store;

-- name: forget  files that are deleted later, so that new containers make files of their own
DELETE FROM entry_files WHERE organisation = %(organisation)s AND file = ANY(%(files)s);
