-- name: latest  topic model: its version, and the number of messages that got no topic
SELECT version, unassigned FROM topic_models WHERE organisation = %(organisation)s AND space = %(space)s
ORDER BY computed_at DESC, version LIMIT 1;

-- name: topics  of one version of the model
SELECT id, name, keywords, centroid FROM message_topics
WHERE organisation = %(organisation)s AND space = %(space)s AND version = %(version)s
ORDER BY id;

-- name: vectors  of the latest messages, with the topic that each of them has
SELECT analysis.message, analysis.vector, known.topic
FROM messages JOIN message_analyses AS analysis ON analysis.organisation = messages.organisation AND analysis.message = messages.id
    LEFT JOIN topics_of_messages AS known ON known.organisation = messages.organisation AND known.message = messages.id
WHERE messages.organisation = (SELECT %(organisation)s::text) AND messages.occurred_at < %(as_of)s AND analysis.space = %(space)s
ORDER BY messages.occurred_at DESC, messages.id
LIMIT %(limit)s;

-- name: texts  of some messages, with their customers
SELECT messages.id, left(messages.text, 500), conversations.customer
FROM messages JOIN conversations ON conversations.organisation = messages.organisation AND conversations.id = messages.conversation
WHERE messages.organisation = %(organisation)s AND messages.id = ANY (%(messages)s) AND conversations.customer IS NOT NULL
ORDER BY messages.id;

-- name: save_model
INSERT INTO topic_models (organisation, version, space, as_of, messages, unassigned, agreement)
VALUES (%(organisation)s, %(version)s, %(space)s, %(as_of)s, %(messages)s, %(unassigned)s, %(agreement)s)
ON CONFLICT (organisation, version) DO UPDATE SET as_of = excluded.as_of, computed_at = now(),
    messages = excluded.messages, unassigned = excluded.unassigned, agreement = excluded.agreement;

-- name: save_topics
INSERT INTO message_topics AS known (organisation, id, space, name, keywords, centroid, messages, version)
SELECT %(organisation)s, id, %(space)s, name, string_to_array(keywords, ','), centroid, messages, %(version)s
FROM unnest(%(ids)s::text[], %(names)s::text[], %(keywords)s::text[], %(centroids)s::bytea[], %(counts)s::bigint[])
    AS given (id, name, keywords, centroid, messages)
ORDER BY id
ON CONFLICT (organisation, id) DO UPDATE SET keywords = excluded.keywords, centroid = excluded.centroid,
    messages = excluded.messages, version = excluded.version;

-- name: assign  rows of messages whose analyses still exist
INSERT INTO topics_of_messages AS known (organisation, message, topic)
SELECT %(organisation)s, analysis.message, given.topic
FROM unnest(%(messages)s::text[], %(topics)s::text[]) AS given (message, topic)
    JOIN message_analyses AS analysis ON analysis.organisation = %(organisation)s AND analysis.message = given.message
ORDER BY analysis.message
ON CONFLICT (organisation, message) DO UPDATE SET topic = excluded.topic WHERE known.topic <> excluded.topic;

-- name: unassign
DELETE FROM topics_of_messages WHERE organisation = %(organisation)s AND message = ANY (%(messages)s);

-- name: delete_unused
DELETE FROM message_topics AS topic WHERE organisation = %(organisation)s AND version <> %(version)s
    AND NOT EXISTS (SELECT FROM topics_of_messages AS known
        WHERE known.organisation = topic.organisation AND known.topic = topic.id);

-- name: unassigned  vectors of messages of some customers without a topic
SELECT messages.id, analysis.vector
FROM conversations JOIN messages ON messages.organisation = conversations.organisation AND messages.conversation = conversations.id
    JOIN message_analyses AS analysis ON analysis.organisation = messages.organisation AND analysis.message = messages.id
WHERE conversations.organisation = (SELECT %(organisation)s::text) AND conversations.customer = ANY (%(customers)s)
    AND messages.occurred_at < %(as_of)s AND analysis.space = %(space)s
    AND NOT EXISTS (SELECT FROM topics_of_messages AS known
        WHERE known.organisation = messages.organisation AND known.message = messages.id);

-- name: of_customers  how often each customer writes about each topic, the most frequent topic first
SELECT customer, topic, name, n, ids FROM (
    SELECT conversations.customer, known.topic, topic.name, count(*) AS n,
        (array_agg(messages.id ORDER BY messages.occurred_at DESC, messages.id))[:%(evidence)s] AS ids
    FROM conversations JOIN messages ON messages.organisation = conversations.organisation AND messages.conversation = conversations.id
        JOIN topics_of_messages AS known ON known.organisation = messages.organisation AND known.message = messages.id
        JOIN message_topics AS topic ON topic.organisation = known.organisation AND topic.id = known.topic
    WHERE conversations.organisation = (SELECT %(organisation)s::text) AND conversations.customer = ANY (%(customers)s)
        AND messages.occurred_at < %(as_of)s
    GROUP BY conversations.customer, known.topic, topic.name) AS counted
ORDER BY customer, n DESC, topic;

-- name: over_time  number of messages of each topic in each period
SELECT date_trunc(%(period)s, messages.occurred_at, 'UTC') AS begin, topic.id, topic.name, count(*) AS messages
FROM messages JOIN topics_of_messages AS known ON known.organisation = messages.organisation AND known.message = messages.id
    JOIN message_topics AS topic ON topic.organisation = known.organisation AND topic.id = known.topic
WHERE messages.organisation = (SELECT %(organisation)s::text)
    AND messages.occurred_at >= %(begin)s AND messages.occurred_at < %(end)s
GROUP BY 1, 2, 3
ORDER BY 1, 4 DESC, 2;
