-- name: unpacked
SELECT EXISTS (SELECT FROM containers
    WHERE organisation = %(organisation)s AND file = %(container)s AND version = %(version)s);

-- name: place  of a file that was made from an entry
SELECT container_name, path FROM entry_files WHERE organisation = %(organisation)s AND file = %(file)s;

-- name: known  files with these keys
SELECT key, file FROM entry_files WHERE organisation = %(organisation)s AND key = ANY(%(keys)s);

-- name: add_files  the ids have the order of the entries; the key of the container counts the files as its own
INSERT INTO files (organisation, id, filename, purpose, bytes, sha256, media_type, created_at, key)
SELECT %(organisation)s,
    'file-' || lpad(to_hex((extract(epoch FROM now()) * 1000000)::bigint), 14, '0') || new.suffix,
    new.filename, container.purpose, new.bytes, new.sha256, new.media_type, now(), container.key
FROM unnest(%(suffixes)s::text[], %(filenames)s::text[], %(bytes)s::bigint[], %(hashes)s::text[],
        %(media_types)s::text[]) AS new (suffix, filename, bytes, sha256, media_type)
JOIN files AS container ON container.organisation = %(organisation)s AND container.id = %(container)s
RETURNING right(id, 12), id;

-- name: add_places
INSERT INTO entry_files (organisation, file, key, container_name, path)
SELECT %(organisation)s, file, key, %(container_name)s, path
FROM unnest(%(files)s::text[], %(keys)s::text[], %(paths)s::text[]) AS new (file, key, path);

-- name: add_entries
INSERT INTO container_entries (organisation, container, number, path, file, outcome, detail)
SELECT %(organisation)s, %(container)s, number, path, file, outcome, detail
FROM unnest(%(numbers)s::int[], %(paths)s::text[], %(files)s::text[], %(outcomes)s::text[], %(details)s::text[])
    AS new (number, path, file, outcome, detail)
ON CONFLICT (organisation, container, number) DO UPDATE
SET path = excluded.path, file = excluded.file, outcome = excluded.outcome, detail = excluded.detail;

-- name: remove_rest  entries that an earlier version found
DELETE FROM container_entries
WHERE organisation = %(organisation)s AND container = %(container)s AND number >= %(total)s;

-- name: mark_unpacked
INSERT INTO containers (organisation, file, version) VALUES (%(organisation)s, %(container)s, %(version)s)
ON CONFLICT (organisation, file) DO UPDATE SET version = excluded.version, unpacked_at = now();

-- name: to_attach  entries that are not attached, or that have work to do and whose last job is older than the
-- container's job or was cancelled with it
SELECT entry.file
FROM container_entries AS entry
LEFT JOIN vector_store_files AS attached ON attached.organisation = entry.organisation
    AND attached.vector_store = %(vector_store)s AND attached.file = entry.file
LEFT JOIN jobs ON (jobs.organisation, jobs.id) = (attached.organisation, attached.job)
LEFT JOIN documents ON (documents.organisation, documents.id) = (attached.organisation, attached.document)
WHERE entry.organisation = %(organisation)s AND entry.container = %(container)s AND entry.file IS NOT NULL
    AND (attached.file IS NULL
        OR attached.status <> 'in_progress' AND (coalesce(jobs.created_at < %(before)s, true) OR jobs.error_code = %(container_cancelled)s)
            AND (attached.status <> 'completed' OR attached.attributes <> %(attributes)s::jsonb
                OR attached.chunking_strategy IS DISTINCT FROM %(chunking_strategy)s::jsonb
                OR attached.ocr IS DISTINCT FROM %(ocr)s
                OR attached.ocr_languages IS DISTINCT FROM %(ocr_languages)s
                OR documents.attempted_version IS DISTINCT FROM %(pipeline_version)s))
ORDER BY entry.file
LIMIT %(limit)s;

-- name: counts
SELECT entry.container,
    count(*) AS total,
    count(*) FILTER (WHERE entry.file IS NULL) AS left_out,
    count(*) FILTER (WHERE attached.status = 'in_progress') AS in_progress,
    count(*) FILTER (WHERE attached.status = 'completed') AS completed,
    count(*) FILTER (WHERE attached.status = 'failed') AS failed,
    count(*) FILTER (WHERE attached.status = 'cancelled' OR entry.file IS NOT NULL AND attached.file IS NULL)
        AS cancelled
FROM container_entries AS entry
LEFT JOIN vector_store_files AS attached ON attached.organisation = entry.organisation
    AND attached.vector_store = %(vector_store)s AND attached.file = entry.file
WHERE entry.organisation = %(organisation)s AND entry.container = ANY(%(containers)s)
GROUP BY entry.container;

-- name: list  the next entries of a container with their status in a vector store
SELECT entry.number, entry.path, entry.file, attached.status,
    CASE WHEN entry.file IS NULL THEN entry.outcome ELSE coalesce(attached.error_code, documents.outcome) END AS outcome,
    CASE WHEN entry.file IS NULL THEN entry.detail ELSE coalesce(attached.error, documents.detail, '') END AS detail
FROM container_entries AS entry
LEFT JOIN vector_store_files AS attached ON attached.organisation = entry.organisation
    AND attached.vector_store = %(vector_store)s AND attached.file = entry.file
LEFT JOIN documents ON (documents.organisation, documents.id) = (attached.organisation, attached.document)
WHERE entry.organisation = %(organisation)s AND entry.container = %(container)s AND entry.number > %(after)s
ORDER BY entry.number
LIMIT %(limit)s;
