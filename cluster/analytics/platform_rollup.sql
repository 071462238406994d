-- name: replace
DELETE FROM {table} WHERE organisation = %(organisation)s AND {bucket} = ANY(%(buckets)s::{type}[]);

-- name: measures  agent '' is the whole organisation; OFFSET 0 makes Postgres read each span by its index, without statistics, too
-- Postgres does not look up the value of a subquery in its statistics. So an organisation that they do not contain yet gets the same
-- plan as the others. Otherwise all indexes that begin with the organisation seem equal, and a roll-up may read all rows for each span.
WITH span AS MATERIALIZED (
    SELECT * FROM unnest(%(buckets)s::{type}[], %(starts)s::timestamptz[], %(ends)s::timestamptz[])
        AS span (bucket, starts_at, ends_at)
), event AS MATERIALIZED (
    SELECT span.bucket, event.*
    FROM span CROSS JOIN LATERAL (
        SELECT agent, customer, type = 'request.completed' AS is_request,
            CASE WHEN type IN ('request.completed', 'error.raised') THEN properties END AS measured
        FROM customer_events AS event WHERE event.organisation = (SELECT %(organisation)s::text)
            AND event.occurred_at >= span.starts_at AND event.occurred_at < span.ends_at {of_agent_event}
        OFFSET 0
    ) AS event
), of_events AS (
    SELECT bucket, coalesce(agent, '') AS agent, count(*) AS events, count(DISTINCT customer) AS customers,
        count(*) FILTER (WHERE is_request) AS requests,
        sum((measured ->> 'input_tokens')::numeric) FILTER (WHERE is_request) AS request_input_tokens,
        sum((measured ->> 'output_tokens')::numeric) FILTER (WHERE is_request) AS request_output_tokens,
        sum((measured ->> 'cost')::numeric) FILTER (WHERE is_request) AS request_cost,
        percentile_disc(ARRAY[0.5, 0.95]) WITHIN GROUP (ORDER BY (measured ->> 'latency_ms')::bigint)
            FILTER (WHERE is_request) AS request_latency
    FROM event GROUP BY GROUPING SETS ((bucket, agent), (bucket))
    HAVING GROUPING(agent) = 1 OR agent IS NOT NULL
), message AS MATERIALIZED (
    SELECT span.bucket, message.*
    FROM span CROSS JOIN LATERAL (
        SELECT agent, conversation, role = 'assistant' AS is_answer, input_tokens, output_tokens, cost, latency_ms,
            time_to_first_token_ms, error_class, retrieval_hit, feedback
        FROM messages AS message WHERE message.organisation = (SELECT %(organisation)s::text)
            AND message.occurred_at >= span.starts_at AND message.occurred_at < span.ends_at {of_agent_message}
        OFFSET 0
    ) AS message
), of_messages AS (
    SELECT bucket, coalesce(agent, '') AS agent, count(*) AS messages, count(*) FILTER (WHERE is_answer) AS answers,
        count(DISTINCT conversation) AS active_conversations,
        sum(input_tokens) AS input_tokens, sum(output_tokens) AS output_tokens, sum(cost) AS cost,
        percentile_disc(ARRAY[0.5, 0.95]) WITHIN GROUP (ORDER BY latency_ms) FILTER (WHERE is_answer) AS latency,
        percentile_disc(ARRAY[0.5, 0.95]) WITHIN GROUP (ORDER BY time_to_first_token_ms)
            FILTER (WHERE is_answer) AS first_token,
        count(retrieval_hit) AS retrievals, count(*) FILTER (WHERE retrieval_hit) AS retrieval_hits,
        count(feedback) AS feedbacks, count(*) FILTER (WHERE feedback = 'positive') AS positive_feedbacks
    FROM message GROUP BY GROUPING SETS ((bucket, agent), (bucket))
    HAVING GROUPING(agent) = 1 OR agent IS NOT NULL
), failure AS (
    SELECT bucket, agent, error_class FROM message WHERE error_class IS NOT NULL
    UNION ALL SELECT bucket, agent, measured ->> 'error_class' FROM event WHERE measured ? 'error_class'
), of_classes AS (
    SELECT bucket, coalesce(agent, '') AS agent, error_class, count(*) AS errors,
        row_number() OVER (PARTITION BY bucket, coalesce(agent, '') ORDER BY count(*) DESC, error_class) AS rank
    FROM failure GROUP BY GROUPING SETS ((bucket, agent, error_class), (bucket, error_class))
    HAVING GROUPING(agent) = 1 OR agent IS NOT NULL
), of_errors AS (
    SELECT bucket, agent, sum(errors) AS errors,
        jsonb_object_agg(error_class, errors) FILTER (WHERE rank <= %(classes)s) AS errors_by_class
    FROM of_classes GROUP BY bucket, agent
), conversation AS MATERIALIZED (
    SELECT span.bucket, conversation.*
    FROM span CROSS JOIN LATERAL (
        SELECT id, agent, resolved, rating, ended_at IS NOT NULL AS ended, handed_over_at IS NOT NULL AS handed_over,
            (extract(epoch FROM last_event_at - first_event_at) * 1000)::bigint AS duration_ms,
            last_event_at <= (SELECT settled_through FROM analytics_progress
                WHERE organisation = (SELECT %(organisation)s::text)) - interval '24 hours' AS quiet
        FROM conversations AS conversation WHERE conversation.organisation = (SELECT %(organisation)s::text)
            AND conversation.first_event_at >= span.starts_at AND conversation.first_event_at < span.ends_at
            {of_agent_conversation}
        OFFSET 0
    ) AS conversation
), quality AS (
    SELECT conversation.*, turns, unanswered
    FROM conversation CROSS JOIN LATERAL (
        SELECT count(*) AS turns,
            count(*) FILTER (WHERE answered_at IS NULL OR occurred_at > answered_at) AS unanswered
        FROM (
            SELECT role, occurred_at,
                max(occurred_at) FILTER (WHERE role = 'assistant' AND error_class IS NULL) OVER () AS answered_at
            FROM messages AS message
            WHERE message.organisation = (SELECT %(organisation)s::text) AND message.conversation = conversation.id
        ) AS said
        WHERE role = 'user'
    ) AS turns
), of_conversations AS (
    SELECT bucket, coalesce(agent, '') AS agent, count(*) AS conversations, count(*) FILTER (WHERE ended) AS ended,
        count(*) FILTER (WHERE handed_over) AS handed_over, sum(turns) AS turns, sum(unanswered) AS unanswered,
        sum(duration_ms) AS duration_ms, percentile_disc(0.5) WITHIN GROUP (ORDER BY duration_ms) AS duration_p50_ms,
        count(*) FILTER (WHERE resolved) AS resolved, count(*) FILTER (WHERE NOT resolved) AS unresolved,
        count(*) FILTER (WHERE resolved IS NULL AND NOT handed_over AND quiet AND turns > 0 AND unanswered = 0) AS assumed_resolved,
        count(rating) AS ratings, count(*) FILTER (WHERE rating >= 4) AS satisfied, sum(rating) AS rating_sum
    FROM quality
    GROUP BY GROUPING SETS ((bucket, agent), (bucket))
    HAVING GROUPING(agent) = 1 OR agent IS NOT NULL
)
SELECT bucket, nullif(agent, '') AS agent, coalesce(events, 0) AS events, coalesce(customers, 0) AS customers,
    coalesce(messages, 0) AS messages, coalesce(answers, 0) AS answers,
    coalesce(active_conversations, 0) AS active_conversations, coalesce(input_tokens, 0) AS input_tokens,
    coalesce(output_tokens, 0) AS output_tokens, coalesce(cost, 0) AS cost, coalesce(requests, 0) AS requests,
    coalesce(request_input_tokens, 0) AS request_input_tokens,
    coalesce(request_output_tokens, 0) AS request_output_tokens, coalesce(request_cost, 0) AS request_cost,
    coalesce(errors, 0) AS errors, coalesce(errors_by_class, '{}') AS errors_by_class,
    latency[1] AS latency_p50_ms, latency[2] AS latency_p95_ms,
    first_token[1] AS first_token_p50_ms, first_token[2] AS first_token_p95_ms,
    request_latency[1] AS request_latency_p50_ms, request_latency[2] AS request_latency_p95_ms,
    coalesce(retrievals, 0) AS retrievals, coalesce(retrieval_hits, 0) AS retrieval_hits,
    coalesce(conversations, 0) AS conversations, coalesce(ended, 0) AS ended,
    coalesce(handed_over, 0) AS handed_over, coalesce(turns, 0) AS turns, coalesce(unanswered, 0) AS unanswered,
    coalesce(duration_ms, 0) AS duration_ms, duration_p50_ms, coalesce(resolved, 0) AS resolved,
    coalesce(unresolved, 0) AS unresolved, coalesce(assumed_resolved, 0) AS assumed_resolved,
    coalesce(ratings, 0) AS ratings, coalesce(satisfied, 0) AS satisfied, coalesce(rating_sum, 0) AS rating_sum,
    coalesce(feedbacks, 0) AS feedbacks, coalesce(positive_feedbacks, 0) AS positive_feedbacks
FROM (
    SELECT bucket, agent FROM of_events UNION SELECT bucket, agent FROM of_messages
    UNION SELECT bucket, agent FROM of_conversations
) AS row
LEFT JOIN of_events USING (bucket, agent) LEFT JOIN of_messages USING (bucket, agent)
LEFT JOIN of_errors USING (bucket, agent) LEFT JOIN of_conversations USING (bucket, agent);
