-- name: asked  each text of a customer with the number of conversations that have it, most frequent first
SELECT message.text, count(DISTINCT message.conversation)::int AS conversations
FROM messages AS message
JOIN conversations AS conversation
    ON conversation.organisation = message.organisation AND conversation.id = message.conversation
WHERE message.organisation = %(organisation)s AND conversation.agent = %(agent)s AND message.role = 'user'
  AND message.occurred_at >= %(since)s AND length(message.text) BETWEEN 3 AND %(max_characters)s
GROUP BY message.text
ORDER BY conversations DESC, max(message.occurred_at) DESC, message.text
LIMIT %(limit)s;
