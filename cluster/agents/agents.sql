-- name: load  with its stores; an agent that only events name has no definition
SELECT id, external_id, name, model, definition, config_hash, updated_at, ARRAY(
    SELECT DISTINCT vector_store FROM agent_knowledge AS known
    WHERE known.organisation = agents.organisation AND known.agent = agents.id
    ORDER BY vector_store
) AS stores
FROM agents
WHERE organisation = %(organisation)s AND (id = %(agent)s OR external_id = %(agent)s) AND deleted_at IS NULL
ORDER BY id = %(agent)s DESC
LIMIT 1;

-- name: save
INSERT INTO agents (organisation, id, external_id, name, model, definition, config_hash, updated_at)
VALUES (%(organisation)s, %(agent)s, %(external_id)s, %(name)s, %(model)s, %(definition)s, %(config_hash)s, now())
ON CONFLICT (organisation, id) DO UPDATE SET
    name = excluded.name, model = excluded.model, definition = excluded.definition,
    config_hash = excluded.config_hash, updated_at = excluded.updated_at, deleted_at = NULL;

-- name: forget_knowledge
DELETE FROM agent_knowledge WHERE organisation = %(organisation)s AND agent = %(agent)s;

-- name: know
INSERT INTO agent_knowledge (organisation, agent, source, vector_store)
SELECT %(organisation)s, %(agent)s, source, vector_store
FROM unnest(%(sources)s::text[], %(stores)s::text[]) AS known (source, vector_store);

-- name: answering  the agents that a request can name as a model
SELECT id, external_id, name, updated_at FROM agents
WHERE organisation = %(organisation)s AND definition IS NOT NULL AND deleted_at IS NULL
ORDER BY external_id
LIMIT %(limit)s;

-- name: get  also an agent without a definition
SELECT id, external_id, name, model, coalesce(definition, '{}') AS definition FROM agents
WHERE organisation = %(organisation)s AND id = %(agent)s AND deleted_at IS NULL;

-- name: places
SELECT source, vector_store FROM agent_knowledge WHERE organisation = %(organisation)s AND agent = %(agent)s;

-- name: stores_of_many
SELECT agent, array_agg(DISTINCT vector_store ORDER BY vector_store) FROM agent_knowledge
WHERE organisation = %(organisation)s AND agent = ANY (%(agents)s::text[])
GROUP BY agent;

-- name: delete
UPDATE agents SET definition = NULL, config_hash = NULL, deleted_at = now()
WHERE organisation = %(organisation)s AND id = %(agent)s AND deleted_at IS NULL;
