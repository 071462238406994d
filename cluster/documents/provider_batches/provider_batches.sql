-- name: answers  of the chunks of one document
SELECT id, vector, error
FROM provider_batch_inputs
WHERE organisation = %(organisation)s AND vector_store = %(store)s AND document = %(document)s;

-- name: ask  a chunk that is asked already keeps its row
INSERT INTO provider_batch_inputs (organisation, vector_store, id, document, text, tokens, bytes)
VALUES (%(organisation)s, %(store)s, %(id)s, %(document)s, %(text)s, %(tokens)s,
    octet_length(to_json(%(text)s::text)::text))
ON CONFLICT (organisation, vector_store, id) DO NOTHING;

-- name: next_inputs  in the order of documents, so that few documents need two batches; at least one input
SELECT id, tokens
FROM (
    SELECT id, document, tokens,
        row_number() OVER so_far AS inputs_so_far,
        sum(tokens) OVER so_far AS tokens_so_far,
        sum(bytes + %(line_bytes)s) OVER so_far AS bytes_so_far
    FROM (
        SELECT * FROM provider_batch_inputs
        WHERE organisation = %(organisation)s AND vector_store = %(store)s
            AND batch IS NULL AND vector IS NULL AND error IS NULL
        ORDER BY document, id
        LIMIT %(max_inputs)s
    ) AS waiting
    WINDOW so_far AS (ORDER BY document, id)
) AS counted
WHERE inputs_so_far = 1 OR bytes_so_far <= %(max_bytes)s AND tokens_so_far <= coalesce(%(max_tokens)s, tokens_so_far)
ORDER BY document, id;

-- name: last_number
SELECT coalesce(max(number), 0) FROM provider_batches
WHERE organisation = %(organisation)s AND vector_store = %(store)s;

-- name: insert
INSERT INTO provider_batches (organisation, vector_store, id, number, inputs, tokens, status)
VALUES (%(organisation)s, %(store)s, %(batch)s, %(number)s, %(inputs)s, %(tokens)s, 'sealed')
RETURNING {columns};

-- name: put_into
UPDATE provider_batch_inputs SET batch = %(batch)s
WHERE organisation = %(organisation)s AND vector_store = %(store)s AND id = ANY(%(ids)s);

-- name: open  the oldest first
SELECT {columns} FROM provider_batches
WHERE organisation = %(organisation)s AND vector_store = %(store)s AND closed_at IS NULL
ORDER BY number;

-- name: texts
SELECT id, text FROM provider_batch_inputs
WHERE organisation = %(organisation)s AND vector_store = %(store)s AND batch = %(batch)s
ORDER BY document, id;

-- name: submitted
UPDATE provider_batches SET provider_id = %(provider_id)s, status = %(status)s, submitted_at = now()
WHERE organisation = %(organisation)s AND vector_store = %(store)s AND id = %(batch)s AND closed_at IS NULL;

-- name: status
UPDATE provider_batches SET status = %(status)s
WHERE organisation = %(organisation)s AND vector_store = %(store)s AND id = %(batch)s
    AND closed_at IS NULL AND status <> %(status)s;

-- name: answer  of an input of this batch only
UPDATE provider_batch_inputs SET vector = %(vector)s, error = %(error)s
WHERE organisation = %(organisation)s AND vector_store = %(store)s AND id = %(id)s AND batch = %(batch)s;

-- name: close
UPDATE provider_batches
SET status = %(status)s, error = %(error)s, tokens_used = %(tokens_used)s, closed_at = now()
WHERE organisation = %(organisation)s AND vector_store = %(store)s AND id = %(batch)s AND closed_at IS NULL;

-- name: wait_again  inputs without an answer; after too many batches, each gets an error
UPDATE provider_batch_inputs
SET batch = NULL, attempts = attempts + %(counted)s,
    error = CASE WHEN attempts + %(counted)s >= %(max_attempts)s THEN %(given_up)s END
WHERE organisation = %(organisation)s AND vector_store = %(store)s AND batch = %(batch)s
    AND vector IS NULL AND error IS NULL;

-- name: unanswered  documents with a chunk that has no answer
SELECT DISTINCT document FROM provider_batch_inputs
WHERE organisation = %(organisation)s AND vector_store = %(store)s AND vector IS NULL AND error IS NULL;

-- name: waiting  number of inputs that are in no batch
SELECT count(*) FROM provider_batch_inputs
WHERE organisation = %(organisation)s AND vector_store = %(store)s
    AND batch IS NULL AND vector IS NULL AND error IS NULL;

-- name: documents
SELECT DISTINCT document FROM provider_batch_inputs
WHERE organisation = %(organisation)s AND vector_store = %(store)s;

-- name: forget  inputs in an open batch stay until it is closed
DELETE FROM provider_batch_inputs AS input
WHERE organisation = %(organisation)s AND vector_store = %(store)s AND document = ANY(%(documents)s)
    AND NOT EXISTS (
        SELECT FROM provider_batches AS batch
        WHERE batch.organisation = input.organisation AND batch.vector_store = input.vector_store
            AND batch.id = input.batch AND batch.closed_at IS NULL);
