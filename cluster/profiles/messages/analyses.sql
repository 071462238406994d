-- name: pending  messages of some customers without an analysis; a short text comes with the rest of what the customer says
SELECT message.id, left(message.text, %(characters)s::integer) AS text,
    CASE WHEN length(message.text) >= %(short)s::integer THEN '' ELSE coalesce((
        SELECT string_agg(text, ' ') FROM (
            SELECT left(other.text, 200) AS text FROM messages AS other
            WHERE other.organisation = %(organisation)s AND other.conversation = message.conversation
                AND other.role = 'user' AND other.id <> message.id AND other.occurred_at < %(as_of)s
            ORDER BY other.occurred_at DESC, other.id LIMIT 10) AS said), '') END AS context
FROM conversations JOIN messages AS message ON message.organisation = conversations.organisation
    AND message.conversation = conversations.id
WHERE conversations.organisation = (SELECT %(organisation)s::text) AND conversations.customer = ANY (%(customers)s)
    AND message.role = 'user' AND trim(message.text) <> '' AND message.occurred_at < %(as_of)s AND message.id > %(after)s
    AND NOT EXISTS (SELECT FROM message_analyses AS known
        WHERE known.organisation = message.organisation AND known.message = message.id
            AND known.space = %(space)s AND known.version = %(version)s)
ORDER BY message.id
LIMIT %(limit)s;

-- name: write  locks the customers in order of their ids, so that a refusal waits or comes first
WITH given AS MATERIALIZED (
    SELECT given.*, customer FROM unnest(%(messages)s::text[], %(languages)s::text[], %(sentiments)s::real[], %(vectors)s::bytea[])
            AS given (message, language, sentiment, vector)
        JOIN messages ON messages.organisation = %(organisation)s AND messages.id = given.message
        JOIN conversations ON conversations.organisation = messages.organisation AND conversations.id = messages.conversation
), allowed AS MATERIALIZED (
    SELECT customers.id FROM customers
    WHERE organisation = %(organisation)s AND id IN (SELECT customer FROM given) AND coalesce(profiling, %(unsaid)s)
        AND NOT EXISTS (SELECT FROM customer_erasures AS erasure
            WHERE erasure.organisation = %(organisation)s AND erasure.id = customers.id AND erased_at = 'infinity')
    ORDER BY id FOR SHARE OF customers
)
INSERT INTO message_analyses AS known (organisation, message, space, version, language, sentiment, vector)
SELECT %(organisation)s, message, %(space)s, %(version)s, language, sentiment, vector
FROM given WHERE customer IN (SELECT id FROM allowed)
ORDER BY message
ON CONFLICT (organisation, message) DO UPDATE SET space = excluded.space, version = excluded.version,
    language = excluded.language, sentiment = excluded.sentiment, vector = excluded.vector,
    computed_at = excluded.computed_at;

-- name: delete_without_consent  after the setting has changed
DELETE FROM message_analyses AS analysis USING messages, conversations, customers
WHERE analysis.organisation = %(organisation)s AND messages.organisation = %(organisation)s
    AND conversations.organisation = %(organisation)s AND customers.organisation = %(organisation)s
    AND messages.id = analysis.message AND conversations.id = messages.conversation
    AND customers.id = conversations.customer AND NOT coalesce(profiling, %(unsaid)s);

-- name: tones  of each conversation of some customers
SELECT customer, conversation, count(*) AS messages, count(sentiment) AS n, avg(sentiment) AS mean,
    coalesce(var_samp(sentiment), 0) AS variance, max(occurred_at) AS last_at,
    array_agg(id ORDER BY occurred_at DESC, id) FILTER (WHERE place <= %(evidence)s AND sentiment IS NOT NULL) AS ids,
    jsonb_object_agg(language, number) AS languages
FROM (
    SELECT conversations.customer, messages.conversation, messages.id, messages.occurred_at, sentiment, language,
        count(*) OVER (PARTITION BY messages.conversation, language) AS number,
        row_number() OVER (PARTITION BY messages.conversation ORDER BY sentiment IS NULL, messages.occurred_at DESC, messages.id) AS place
    FROM conversations JOIN messages ON messages.organisation = conversations.organisation
            AND messages.conversation = conversations.id
        JOIN message_analyses AS analysis ON analysis.organisation = messages.organisation AND analysis.message = messages.id
    WHERE conversations.organisation = (SELECT %(organisation)s::text) AND conversations.customer = ANY (%(customers)s)
        AND messages.role = 'user' AND messages.occurred_at < %(as_of)s AND analysis.version = %(version)s
) AS tone
GROUP BY customer, conversation
ORDER BY customer, last_at DESC, conversation;
