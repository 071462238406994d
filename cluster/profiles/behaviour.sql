-- name: purchases  {amount} is the expression of an amount. The lateral subqueries of this file make Postgres read each
-- customer by an index, also if its statistics do not contain the organisation yet
SELECT customer, count(*) AS n, min(occurred_at) AS first_at, max(occurred_at) AS last_at, count(amount) AS amounts,
    CASE WHEN count(DISTINCT currency) FILTER (WHERE amount IS NOT NULL) = 1 THEN sum(amount) END AS total,
    array_agg(id ORDER BY occurred_at DESC, id) FILTER (WHERE place <= %(evidence)s) AS ids
FROM (
    SELECT customer, source || '#' || id AS id, occurred_at, coalesce(properties ->> 'currency', '') AS currency,
        {amount} AS amount,
        row_number() OVER (PARTITION BY customer ORDER BY occurred_at DESC, source || '#' || id) AS place
    FROM unnest(%(customers)s::text[]) AS wanted (customer), LATERAL (
        SELECT source, id, occurred_at, properties FROM customer_events
        WHERE organisation = (SELECT %(organisation)s::text) AND customer_events.customer = wanted.customer
            AND type = %(purchase)s AND occurred_at < %(as_of)s OFFSET 0) AS event
) AS purchase
GROUP BY customer;

-- name: activity  what a customer did: messages of the customer, and events except those that agents and the platform cause
WITH act AS MATERIALIZED (
    SELECT customer, event.id, occurred_at FROM unnest(%(customers)s::text[]) AS wanted (customer), LATERAL (
        SELECT source || '#' || id AS id, occurred_at FROM customer_events
        WHERE organisation = (SELECT %(organisation)s::text) AND customer_events.customer = wanted.customer
            AND occurred_at < %(as_of)s AND type <> ALL (%(not_acts)s) OFFSET 0) AS event
    UNION ALL
    SELECT customer, message.id, occurred_at FROM unnest(%(customers)s::text[]) AS wanted (customer), LATERAL (
        SELECT id FROM conversations
        WHERE organisation = (SELECT %(organisation)s::text) AND conversations.customer = wanted.customer OFFSET 0
    ) AS talk, LATERAL (
        SELECT id, occurred_at FROM messages
        WHERE organisation = (SELECT %(organisation)s::text) AND conversation = talk.id
            AND occurred_at < %(as_of)s AND role = 'user' OFFSET 0) AS message
), placed AS MATERIALIZED (
    SELECT *, row_number() OVER (PARTITION BY customer ORDER BY occurred_at DESC, id) AS place,
        coalesce(occurred_at - lag(occurred_at) OVER (PARTITION BY customer ORDER BY occurred_at, id) > %(session_gap)s, true)
            AS begins
    FROM act
), session AS (
    SELECT customer, min(occurred_at) AS begins_at, max(occurred_at) AS ends_at FROM (
        SELECT *, count(*) FILTER (WHERE begins) OVER (PARTITION BY customer ORDER BY occurred_at, id) AS number FROM placed
    ) AS numbered
    GROUP BY customer, number
), sessions AS (
    SELECT customer, count(*) AS sessions, avg(extract(epoch FROM ends_at - begins_at)) / 60 AS session_minutes,
        min(begins_at) AS first_begin, max(begins_at) AS last_begin,
        count(*) FILTER (WHERE begins_at >= %(as_of)s - %(trend)s) AS recent,
        count(*) FILTER (WHERE begins_at >= %(as_of)s - 2 * %(trend)s AND begins_at < %(as_of)s - %(trend)s) AS earlier
    FROM session GROUP BY customer
), hours AS (
    SELECT customer, jsonb_object_agg(hour, n) AS hours FROM (
        SELECT customer, (extract(isodow FROM local)::integer - 1) * 24 + extract(hour FROM local)::integer AS hour, count(*) AS n
        FROM act, LATERAL (SELECT occurred_at AT TIME ZONE (
            SELECT time_zone FROM organisations WHERE id = %(organisation)s) AS local) AS clock
        GROUP BY 1, 2
    ) AS hour
    GROUP BY customer
), acts AS (
    SELECT customer, count(*) AS n, min(occurred_at) AS first_at, max(occurred_at) AS last_at,
        array_agg(id ORDER BY occurred_at DESC, id) FILTER (WHERE place <= %(evidence)s) AS ids
    FROM placed GROUP BY customer
)
SELECT * FROM acts JOIN sessions USING (customer) JOIN hours USING (customer);

-- name: questions  successive messages of a customer are one question; the messages until the next question answer it
WITH message AS MATERIALIZED (
    SELECT customer, talk.id AS conversation, message.id, role, occurred_at, answers
    FROM unnest(%(customers)s::text[]) AS wanted (customer), LATERAL (
        SELECT id FROM conversations
        WHERE organisation = (SELECT %(organisation)s::text) AND conversations.customer = wanted.customer OFFSET 0
    ) AS talk, LATERAL (
        SELECT id, role, occurred_at,
            role = 'assistant' AND error_class IS NULL AND retrieval_hit IS DISTINCT FROM false AND text <> '' AS answers
        FROM messages
        WHERE organisation = (SELECT %(organisation)s::text) AND conversation = talk.id
            AND occurred_at < %(as_of)s AND role IN ('user', 'assistant') OFFSET 0) AS message
), question AS (
    SELECT customer, bool_or(answers) AS answered, min(id) FILTER (WHERE asks) AS id, min(occurred_at) AS asked_at FROM (
        SELECT *, count(*) FILTER (WHERE asks) OVER (PARTITION BY conversation ORDER BY occurred_at, id) AS number FROM (
            SELECT *, role = 'user' AND lag(role) OVER (PARTITION BY conversation ORDER BY occurred_at, id)
                IS DISTINCT FROM 'user' AS asks
            FROM message) AS marked
    ) AS numbered
    WHERE number > 0 GROUP BY customer, conversation, number
)
SELECT customer, count(*) AS n, count(*) FILTER (WHERE NOT answered) AS unanswered,
    array_agg(id ORDER BY asked_at DESC, id) FILTER (WHERE place <= %(evidence)s) AS ids,
    array_agg(id ORDER BY asked_at DESC, id) FILTER (WHERE NOT answered AND missed <= %(evidence)s) AS unanswered_ids
FROM (
    SELECT *, row_number() OVER (PARTITION BY customer ORDER BY asked_at DESC, id) AS place,
        row_number() OVER (PARTITION BY customer, answered ORDER BY asked_at DESC, id) AS missed
    FROM question
) AS placed
GROUP BY customer;
