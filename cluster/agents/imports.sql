-- name: file_hashes
SELECT id, sha256, media_type, purpose FROM files
WHERE organisation = %(organisation)s AND id = ANY (%(ids)s::text[]) AND (expires_at IS NULL OR expires_at > now());

-- name: live_stores
SELECT id FROM vector_stores
WHERE organisation = %(organisation)s AND id = ANY (%(ids)s::text[]) AND deleted_at IS NULL
    AND NOT (expired_at IS NOT NULL OR expires_at IS NOT NULL AND expires_at <= now());

-- name: add_rows
INSERT INTO agent_import_rows (organisation, job, number, line, agent, definition, config_hash, sources)
SELECT %(organisation)s, %(job)s, number, line, agent, definition, config_hash, sources
FROM jsonb_to_recordset(%(rows)s) AS new (
    number integer, line integer, agent text, definition jsonb, config_hash text, sources jsonb);

-- name: mark_unchanged  agents that have this definition, and whose knowledge is complete
UPDATE agent_import_rows AS row SET outcome = 'unchanged'
FROM agents
WHERE row.organisation = %(organisation)s AND row.job = %(job)s AND row.outcome IS NULL
    AND agents.organisation = %(organisation)s AND agents.id = row.agent AND agents.deleted_at IS NULL
    AND agents.config_hash = row.config_hash
    AND jsonb_array_length(row.sources) = (
        SELECT count(*) FROM agent_knowledge AS known
        JOIN agent_sources AS source ON source.organisation = %(organisation)s AND source.id = known.source
        JOIN vector_store_files AS attached ON attached.organisation = %(organisation)s
            AND attached.vector_store = known.vector_store AND attached.file = source.file
            AND attached.status = 'completed'
        WHERE known.organisation = %(organisation)s AND known.agent = row.agent);

-- name: open_rows
SELECT number, agent, definition, sources, knowledge FROM agent_import_rows
WHERE organisation = %(organisation)s AND job = %(job)s AND outcome IS NULL AND number > %(after)s
ORDER BY number
LIMIT %(limit)s;

-- name: set_knowledge
UPDATE agent_import_rows AS row SET knowledge = new.knowledge
FROM jsonb_to_recordset(%(rows)s) AS new (number integer, knowledge jsonb)
WHERE row.organisation = %(organisation)s AND row.job = %(job)s AND row.number = new.number;

-- name: row_files  of each row without an outcome: its files, and those that are done; a file that was deleted counts as failed
SELECT row.number, count(place.key) AS files,
    count(*) FILTER (WHERE attached.status = 'completed') AS completed,
    count(*) FILTER (WHERE place.key IS NOT NULL
        AND (attached.file IS NULL OR attached.status IN ('failed', 'cancelled'))) AS failed,
    min(coalesce(files.filename, source.file, place.key) || ': ' || coalesce(attached.error, 'the file was deleted'))
        FILTER (WHERE place.key IS NOT NULL
            AND (attached.file IS NULL OR attached.status IN ('failed', 'cancelled'))) AS error
FROM agent_import_rows AS row
LEFT JOIN LATERAL jsonb_each_text(row.knowledge) AS place ON true
LEFT JOIN agent_sources AS source ON source.organisation = %(organisation)s AND source.id = place.key
LEFT JOIN files ON files.organisation = %(organisation)s AND files.id = source.file
LEFT JOIN vector_store_files AS attached ON attached.organisation = %(organisation)s
    AND attached.vector_store = place.value AND attached.file = source.file
WHERE row.organisation = %(organisation)s AND row.job = %(job)s AND row.outcome IS NULL
GROUP BY row.number
ORDER BY row.number;

-- name: end_rows
UPDATE agent_import_rows AS row SET outcome = new.outcome, error = new.error
FROM jsonb_to_recordset(%(rows)s) AS new (number integer, outcome text, error text)
WHERE row.organisation = %(organisation)s AND row.job = %(job)s AND row.number = new.number;

-- name: existing
SELECT id, config_hash FROM agents
WHERE organisation = %(organisation)s AND id = ANY (%(agents)s::text[]) AND definition IS NOT NULL AND deleted_at IS NULL;

-- name: outcomes
SELECT coalesce(outcome, 'open'), count(*) FROM agent_import_rows
WHERE organisation = %(organisation)s AND job = %(job)s GROUP BY 1;

-- name: failures  rows without an error of their own failed because of another row
SELECT number, line, definition ->> 'external_id', error FROM agent_import_rows
WHERE organisation = %(organisation)s AND job = %(job)s AND outcome = 'failed' AND error IS NOT NULL
ORDER BY number
LIMIT %(limit)s;

-- name: files  each file of the import once, and the tokens that were embedded for it since the import began
SELECT count(*), count(*) FILTER (WHERE status = 'completed'), count(*) FILTER (WHERE status IN ('failed', 'cancelled')),
    coalesce(sum(tokens), 0)::bigint
FROM (
    SELECT DISTINCT place.key, place.value, attached.status, CASE WHEN jobs.created_at >= import.created_at
        THEN (jobs.result ->> 'tokens_embedded')::bigint END AS tokens
    FROM agent_import_rows AS row
    JOIN jobs AS import ON import.organisation = %(organisation)s AND import.id = row.job
    CROSS JOIN jsonb_each_text(row.knowledge) AS place
    LEFT JOIN agent_sources AS source ON source.organisation = %(organisation)s AND source.id = place.key
    LEFT JOIN vector_store_files AS attached ON attached.organisation = %(organisation)s
        AND attached.vector_store = place.value AND attached.file = source.file
    LEFT JOIN jobs ON jobs.organisation = %(organisation)s AND jobs.id = attached.job
    WHERE row.organisation = %(organisation)s AND row.job = %(job)s AND row.knowledge IS NOT NULL
) AS placed;

-- name: abandoned_of_all  organisations with rows of ended imports that have no outcome
SELECT DISTINCT row.organisation FROM agent_import_rows AS row
JOIN jobs ON (jobs.organisation, jobs.id) = (row.organisation, row.job)
WHERE row.outcome IS NULL AND jobs.state NOT IN ('queued', 'running');

-- name: end_abandoned_rows
UPDATE agent_import_rows AS row SET outcome = 'failed', error = 'the import ended before this agent was created'
FROM jobs
WHERE row.organisation = %(organisation)s AND row.outcome IS NULL AND jobs.organisation = %(organisation)s
    AND jobs.id = row.job AND jobs.state NOT IN ('queued', 'running');
