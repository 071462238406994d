-- name: lock  changes of the knowledge of an organisation's agents run one after the other
SELECT pg_advisory_xact_lock(hashtextextended(%(organisation)s || '/agents', 0));

-- name: add_sources
INSERT INTO agent_sources (organisation, id, file, owned)
SELECT %(organisation)s, id, file, owned
FROM unnest(%(ids)s::text[], %(files)s::text[], %(owned)s::boolean[]) AS new (id, file, owned)
ORDER BY id
ON CONFLICT (organisation, id) DO NOTHING;

-- name: files  of sources that exist
SELECT id, file FROM agent_sources WHERE organisation = %(organisation)s AND id = ANY (%(ids)s::text[]);

-- name: present  the places in stores that hold these sources or that these agents use; {used} is every place
WITH used AS MATERIALIZED ({used})
SELECT agent, source, vector_store FROM used
WHERE vector_store IN (
    SELECT vector_store FROM used WHERE source = ANY (%(ids)s::text[]) OR agent = ANY (%(agents)s::text[]));

-- name: add_stores
INSERT INTO agent_stores (organisation, vector_store) SELECT %(organisation)s, unnest(%(stores)s::text[]);

-- name: unattached  files of places that are not attached, or whose last job ended without success before this time
SELECT DISTINCT place.vector_store, source.file
FROM unnest(%(ids)s::text[], %(stores)s::text[]) AS place (source, vector_store)
JOIN agent_sources AS source ON source.organisation = %(organisation)s AND source.id = place.source
LEFT JOIN vector_store_files AS attached ON attached.organisation = %(organisation)s
    AND attached.vector_store = place.vector_store AND attached.file = source.file
LEFT JOIN jobs ON jobs.organisation = %(organisation)s AND jobs.id = attached.job
WHERE attached.file IS NULL
    OR attached.status IN ('failed', 'cancelled') AND coalesce(jobs.created_at < %(before)s, true)
ORDER BY place.vector_store, source.file;

-- name: unused_stores  {used} is every place
SELECT store.vector_store FROM agent_stores AS store
WHERE store.organisation = %(organisation)s
    AND NOT EXISTS (SELECT FROM ({used}) AS used WHERE used.vector_store = store.vector_store)
ORDER BY store.vector_store;

-- name: stores_of_agents
SELECT vector_store FROM agent_stores
WHERE organisation = %(organisation)s AND vector_store = ANY (%(stores)s::text[]);

-- name: remove_stores
DELETE FROM agent_stores WHERE organisation = %(organisation)s AND vector_store = ANY (%(stores)s::text[]);

-- name: unused_files  of stores that are used
SELECT attached.vector_store, attached.file
FROM agent_stores AS store
JOIN vector_store_files AS attached ON attached.organisation = %(organisation)s
    AND attached.vector_store = store.vector_store
JOIN agent_sources AS source ON source.organisation = %(organisation)s AND source.file = attached.file
LEFT JOIN ({used}) AS used ON used.vector_store = attached.vector_store AND used.source = source.id
WHERE store.organisation = %(organisation)s AND used.source IS NULL
ORDER BY attached.vector_store, attached.file;

-- name: remove_sources  that no agent knows and no open import names
DELETE FROM agent_sources AS source
WHERE source.organisation = %(organisation)s
    AND NOT EXISTS (SELECT FROM agent_knowledge AS known
        WHERE known.organisation = %(organisation)s AND known.source = source.id)
    AND NOT EXISTS (
        SELECT FROM agent_import_rows AS row
        JOIN jobs ON jobs.organisation = %(organisation)s AND jobs.id = row.job AND jobs.state IN ('queued', 'running')
        WHERE row.organisation = %(organisation)s AND row.outcome IS NULL
            AND row.sources @> jsonb_build_array(jsonb_build_object('id', source.id)))
RETURNING source.file, source.owned;

-- name: used  every place: where agents find their sources, and where open imports put them
SELECT agent, source, vector_store FROM agent_knowledge WHERE organisation = %(organisation)s
UNION
SELECT row.agent, place.key, place.value
FROM agent_import_rows AS row
JOIN jobs ON jobs.organisation = %(organisation)s AND jobs.id = row.job AND jobs.state IN ('queued', 'running')
CROSS JOIN jsonb_each_text(row.knowledge) AS place
WHERE row.organisation = %(organisation)s AND row.outcome IS NULL AND row.knowledge IS NOT NULL
