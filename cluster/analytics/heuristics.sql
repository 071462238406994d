-- name: repeated  a message of a customer, and the one before it in the conversation
SELECT text, before
FROM (
    SELECT id, agent, occurred_at, left(text, %(characters)s) AS text,
        left(lag(text) OVER (PARTITION BY conversation ORDER BY occurred_at, id), %(characters)s) AS before
    FROM messages
    WHERE organisation = %(organisation)s AND role = 'user' AND occurred_at < %(end)s AND conversation IN (
        SELECT conversation FROM messages
        WHERE organisation = %(organisation)s AND occurred_at >= %(begin)s AND occurred_at < %(end)s)
) AS said
WHERE occurred_at >= %(begin)s AND (%(agent)s::text IS NULL OR agent = %(agent)s)
    AND trim(text) <> '' AND trim(before) <> ''
ORDER BY md5(id), id
LIMIT %(limit)s;

-- name: answers  that name sources
SELECT left(text, %(characters)s), sources
FROM messages
WHERE organisation = %(organisation)s AND role = 'assistant' AND occurred_at >= %(begin)s AND occurred_at < %(end)s
    AND (%(agent)s::text IS NULL OR agent = %(agent)s) AND trim(text) <> '' AND jsonb_array_length(sources) > 0
ORDER BY md5(id), id
LIMIT %(limit)s;
