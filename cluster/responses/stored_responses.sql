-- name: customer_of_conversation
SELECT customer FROM conversations WHERE organisation = %(organisation)s AND id = %(conversation)s;

-- name: store
INSERT INTO responses (organisation, id, previous, customer, conversation, stores, input, response, expires_at)
VALUES (%(organisation)s, %(id)s, %(previous)s, %(customer)s, %(conversation)s, %(stores)s, %(input)s, %(response)s,
    now() + make_interval(days => %(days)s));

-- name: get
SELECT id, previous, customer, conversation, stores, input, response FROM responses
WHERE organisation = %(organisation)s AND id = %(id)s AND expires_at > now();

-- name: turns  the response and the responses before it, the latest first; a deleted response ends the chain
WITH RECURSIVE turn AS (
    SELECT 1 AS distance, octet_length(input::text) + octet_length(response.response::text) AS bytes, response.*
    FROM responses AS response
    WHERE organisation = %(organisation)s AND id = %(id)s AND expires_at > now()
    UNION ALL
    SELECT turn.distance + 1, turn.bytes + octet_length(response.input::text) + octet_length(response.response::text), response.*
    FROM turn JOIN responses AS response
        ON response.organisation = %(organisation)s AND response.id = turn.previous
    WHERE turn.distance < %(turns)s AND turn.bytes < %(bytes)s AND response.expires_at > now()
)
SELECT id, previous, customer, conversation, stores, input, response FROM turn ORDER BY distance;

-- name: delete
DELETE FROM responses WHERE organisation = %(organisation)s AND id = %(id)s;

-- name: expire_of_all
DELETE FROM responses WHERE expires_at <= now();
