-- name: share_with_erasures  many transactions that insert events hold this lock at once
SELECT pg_advisory_xact_lock_shared(hashtextextended('erasures of ' || %(organisation)s, 0));

-- name: columns  of the rows of events that `ingest` takes
number integer, source text, id text, type text, occurred_at timestamptz, properties jsonb,
agent text, agent_external text, customer text, customer_external text,
conversation text, conversation_external text,
message text, role text, text text, model text, latency_ms integer, time_to_first_token_ms integer,
input_tokens bigint, output_tokens bigint, cost numeric, error_class text, retrieval_hit boolean,
sources jsonb;

-- name: given_as_json
SELECT * FROM jsonb_to_recordset(%(rows)s::jsonb) AS given ({columns});

-- name: make_stage  a table that only this session sees, and that is empty after each transaction
CREATE TEMPORARY TABLE IF NOT EXISTS staged_events ({columns}) ON COMMIT DELETE ROWS;

-- name: stage
COPY pg_temp.staged_events FROM STDIN (FORMAT csv);

-- name: given_in_stage
SELECT * FROM pg_temp.staged_events;

-- name: ids_in_stage
SELECT number, id FROM pg_temp.staged_events WHERE number = ANY (%(numbers)s) ORDER BY number;

-- name: ingest  {given} selects the rows; rows are sorted, so that two of these statements never deadlock
WITH given AS MATERIALIZED (
    {given}
), erased AS MATERIALIZED (
    SELECT number FROM given JOIN customer_erasures AS erasure ON erasure.id = given.customer
    WHERE erasure.organisation = %(organisation)s AND erasure.erased_at >= given.occurred_at
    UNION
    SELECT number FROM given JOIN customer_erasures AS erasure ON erasure.id = given.conversation
    WHERE erasure.organisation = %(organisation)s AND erasure.erased_at >= given.occurred_at
), added AS (
    INSERT INTO customer_events
        (organisation, source, id, type, occurred_at, agent, customer, conversation, properties)
    SELECT %(organisation)s, source, id, type, occurred_at, agent, customer, conversation, properties
    FROM given WHERE number NOT IN (SELECT number FROM erased)
    ORDER BY source, id
    ON CONFLICT (organisation, source, id) DO NOTHING
    RETURNING source, id
), fresh AS MATERIALIZED (
    SELECT given.* FROM given JOIN added USING (source, id)
), new_agents AS (
    INSERT INTO agents (organisation, id, external_id, name)
    SELECT DISTINCT %(organisation)s, agent, agent_external, agent_external
    FROM fresh WHERE agent IS NOT NULL
    ORDER BY agent
    ON CONFLICT (organisation, id) DO NOTHING
), of_customers AS MATERIALIZED (
    SELECT *, type = 'customer.seen' AND properties ?| ARRAY['name', 'email', 'properties'] AS describes,
        type = 'customer.seen' AND properties ? 'profiling' AS consents
    FROM fresh WHERE customer IS NOT NULL
), new_customers AS (
    INSERT INTO customers AS known (organisation, id, external_id, name, email, properties, described_at,
        profiling, profiling_at, first_seen_at, last_seen_at)
    SELECT %(organisation)s, customer, customer_external, described ->> 'name', described ->> 'email',
        coalesce(described -> 'properties', '{}'), described_at, profiling, profiling_at,
        first_seen_at, last_seen_at
    FROM (
        SELECT customer, customer_external, min(occurred_at) AS first_seen_at, max(occurred_at) AS last_seen_at,
            max(occurred_at) FILTER (WHERE describes) AS described_at,
            (array_agg(properties ORDER BY occurred_at DESC, source, id) FILTER (WHERE describes))[1] AS described,
            max(occurred_at) FILTER (WHERE consents) AS profiling_at,
            (array_agg((properties ->> 'profiling')::boolean ORDER BY occurred_at DESC, source, id) FILTER (WHERE consents))[1]
                AS profiling
        FROM of_customers
        GROUP BY customer, customer_external
    ) AS customer_of_event
    ORDER BY customer
    ON CONFLICT (organisation, id) DO UPDATE SET
        first_seen_at = least(known.first_seen_at, excluded.first_seen_at),
        last_seen_at = greatest(known.last_seen_at, excluded.last_seen_at),
        profiling = CASE WHEN known.profiling_at IS NULL OR excluded.profiling_at > known.profiling_at
            THEN coalesce(excluded.profiling, known.profiling) ELSE known.profiling END,
        profiling_at = greatest(known.profiling_at, excluded.profiling_at),
        (name, email, properties, described_at) = (
            SELECT name, email, properties, described_at FROM (VALUES
                (excluded.name, excluded.email, excluded.properties, excluded.described_at),
                (known.name, known.email, known.properties, known.described_at)
            ) AS described (name, email, properties, described_at)
            ORDER BY described_at DESC NULLS LAST LIMIT 1)
), new_conversations AS (
    INSERT INTO conversations AS known (organisation, id, external_id, agent, customer, channel, started_at,
        ended_at, resolved, handed_over_at, rating, rated_at, first_event_at, last_event_at)
    SELECT %(organisation)s, conversation, conversation_external,
        (array_agg(agent ORDER BY occurred_at, id) FILTER (WHERE agent IS NOT NULL))[1],
        (array_agg(customer ORDER BY occurred_at, id) FILTER (WHERE customer IS NOT NULL))[1],
        (array_agg(properties ->> 'channel' ORDER BY occurred_at, id)
            FILTER (WHERE type = 'conversation.started' AND properties ? 'channel'))[1],
        min(occurred_at) FILTER (WHERE type = 'conversation.started'),
        max(occurred_at) FILTER (WHERE type = 'conversation.ended'),
        (array_agg((properties ->> 'resolved')::boolean ORDER BY occurred_at DESC, id)
            FILTER (WHERE type = 'conversation.ended'))[1],
        min(occurred_at) FILTER (WHERE type = 'conversation.handed_over'),
        (array_agg((properties ->> 'rating')::smallint ORDER BY occurred_at DESC, id)
            FILTER (WHERE type = 'conversation.rated'))[1],
        max(occurred_at) FILTER (WHERE type = 'conversation.rated'),
        min(occurred_at), max(occurred_at)
    FROM fresh WHERE conversation IS NOT NULL
    GROUP BY conversation, conversation_external
    ORDER BY conversation
    ON CONFLICT (organisation, id) DO UPDATE SET
        agent = coalesce(known.agent, excluded.agent),
        customer = coalesce(known.customer, excluded.customer),
        channel = coalesce(known.channel, excluded.channel),
        started_at = least(known.started_at, excluded.started_at),
        ended_at = greatest(known.ended_at, excluded.ended_at),
        resolved = CASE WHEN known.ended_at IS NULL OR excluded.ended_at > known.ended_at
            THEN excluded.resolved ELSE known.resolved END,
        handed_over_at = least(known.handed_over_at, excluded.handed_over_at),
        rating = CASE WHEN known.rated_at IS NULL OR excluded.rated_at > known.rated_at
            THEN excluded.rating ELSE known.rating END,
        rated_at = greatest(known.rated_at, excluded.rated_at),
        first_event_at = least(known.first_event_at, excluded.first_event_at),
        last_event_at = greatest(known.last_event_at, excluded.last_event_at)
), new_messages AS (
    INSERT INTO messages (organisation, id, conversation, agent, role, text, model, latency_ms,
        time_to_first_token_ms, input_tokens, output_tokens, cost, error_class, retrieval_hit, sources, occurred_at)
    SELECT %(organisation)s, message, conversation, agent, role, text, model, latency_ms,
        time_to_first_token_ms, input_tokens, output_tokens, cost, error_class, retrieval_hit, sources, occurred_at
    FROM fresh WHERE message IS NOT NULL
)
SELECT (SELECT count(*) FROM added), (SELECT coalesce(array_agg(number), '{}') FROM erased);
