-- name: give  the message of an assistant only
UPDATE messages SET feedback = %(rating)s, feedback_comment = %(comment)s,
    feedback_at = CASE WHEN %(rating)s::text IS NOT NULL THEN clock_timestamp() END
WHERE organisation = %(organisation)s AND id = %(id)s AND role = 'assistant';

-- name: newest
SELECT {columns} FROM messages AS answer
WHERE organisation = %(organisation)s AND {filter}
  AND (feedback_at, id) < (%(from_at)s::timestamptz, %(from_id)s)
  AND (feedback_at, id) > (%(to_at)s::timestamptz, %(to_id)s)
ORDER BY feedback_at DESC, id DESC
LIMIT %(limit)s;

-- name: oldest
SELECT {columns} FROM messages AS answer
WHERE organisation = %(organisation)s AND {filter}
  AND (feedback_at, id) > (%(from_at)s::timestamptz, %(from_id)s)
  AND (feedback_at, id) < (%(to_at)s::timestamptz, %(to_id)s)
ORDER BY feedback_at, id
LIMIT %(limit)s;

-- name: places
SELECT min(feedback_at), max(feedback_at) FROM messages AS answer
WHERE organisation = %(organisation)s AND id = %(id)s AND {filter};

-- name: columns  the question is the latest message of the customer before the answer
id, conversation, agent, text AS answer, feedback AS rating, feedback_comment AS comment, sources, occurred_at, feedback_at,
(SELECT text FROM messages AS asked
    WHERE asked.organisation = answer.organisation AND asked.conversation = answer.conversation AND asked.role = 'user'
        AND (asked.occurred_at, asked.id) < (answer.occurred_at, answer.id)
    ORDER BY asked.occurred_at DESC, asked.id DESC LIMIT 1) AS question,
(SELECT count(*) > 1 FROM (SELECT FROM messages AS asked
    WHERE asked.organisation = answer.organisation AND asked.conversation = answer.conversation AND asked.role = 'user'
        AND (asked.occurred_at, asked.id) < (answer.occurred_at, answer.id) LIMIT 2) AS earlier) AS follow_up

-- name: filter
feedback IS NOT NULL AND (%(rating)s::text IS NULL OR feedback = %(rating)s) AND (%(agent)s::text IS NULL OR agent = %(agent)s)
