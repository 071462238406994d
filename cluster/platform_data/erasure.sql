-- name: exclude_insertions  waits until every transaction that inserts events has ended
SELECT pg_advisory_xact_lock(hashtextextended('erasures of ' || %(organisation)s, 0));

-- name: known  whether the customer exists, was erased before, and is being erased by a job
SELECT EXISTS (SELECT FROM customers WHERE organisation = %(organisation)s AND id = %(customer)s),
    EXISTS (SELECT FROM customer_erasures WHERE organisation = %(organisation)s AND id = %(customer)s),
    EXISTS (SELECT FROM customer_erasures WHERE organisation = %(organisation)s AND id = %(customer)s
        AND erased_at = 'infinity');

-- name: remember  the rows of customers and conversations have the times of their earliest and latest events
WITH conversation AS (
    SELECT id, first_event_at, last_event_at FROM conversations
    WHERE organisation = %(organisation)s AND customer = %(customer)s
), fact AS (
    SELECT min(first_at) AS first_at, max(last_at) AS last_at FROM (
        SELECT first_event_at, last_event_at FROM conversation
        UNION ALL
        SELECT first_seen_at, last_seen_at FROM customers
        WHERE organisation = %(organisation)s AND id = %(customer)s
    ) AS time (first_at, last_at)
)
INSERT INTO customer_erasures AS known (organisation, id, customer, erased_at, first_occurred_at, last_occurred_at)
SELECT %(organisation)s, erased.id, %(customer)s, clock_timestamp(), fact.first_at, fact.last_at
FROM (SELECT %(customer)s::text AS id UNION SELECT id FROM conversation) AS erased, fact
ON CONFLICT (organisation, id) DO UPDATE SET customer = excluded.customer, erased_at = excluded.erased_at,
    first_occurred_at = least(known.first_occurred_at, excluded.first_occurred_at),
    last_occurred_at = greatest(known.last_occurred_at, excluded.last_occurred_at);

-- name: mark  every event of the customer and of the conversations is refused until the job ends
UPDATE customer_erasures SET erased_at = 'infinity'
WHERE organisation = %(organisation)s AND customer = %(customer)s;

-- name: unmark
UPDATE customer_erasures SET erased_at = clock_timestamp()
WHERE organisation = %(organisation)s AND customer = %(customer)s;

-- name: hide  the rest of the row is needed by the rows that refer to it
UPDATE customers SET name = NULL, email = NULL, properties = '{}', described_at = NULL
WHERE organisation = %(organisation)s AND id = %(customer)s;

-- name: delete_contexts  frequent questions can contain words of the customer; the next job finds them again
DELETE FROM precomputed_contexts WHERE organisation = %(organisation)s AND question IS NULL;

-- name: delete_profile
DELETE FROM customer_profiles WHERE organisation = %(organisation)s AND customer = %(customer)s;

-- name: of_responses
SELECT ctid FROM responses WHERE organisation = %(organisation)s AND customer = %(customer)s;

-- name: of_message_analyses
SELECT ctid FROM message_analyses WHERE organisation = %(organisation)s AND message IN (
    SELECT messages.id FROM messages JOIN customer_erasures AS erasure
        ON erasure.organisation = messages.organisation AND erasure.id = messages.conversation
    WHERE messages.organisation = %(organisation)s AND erasure.customer = %(customer)s);

-- name: of_messages
SELECT ctid FROM messages WHERE organisation = %(organisation)s AND conversation IN (
    SELECT id FROM customer_erasures WHERE organisation = %(organisation)s AND customer = %(customer)s);

-- name: of_customer_events  a row can occur twice
SELECT ctid FROM customer_events WHERE organisation = %(organisation)s AND customer = %(customer)s
UNION ALL
SELECT ctid FROM customer_events WHERE organisation = %(organisation)s AND conversation IN (
    SELECT id FROM customer_erasures WHERE organisation = %(organisation)s AND customer = %(customer)s);

-- name: of_conversations  a row can occur twice
SELECT ctid FROM conversations WHERE organisation = %(organisation)s AND customer = %(customer)s
UNION ALL
SELECT ctid FROM conversations WHERE organisation = %(organisation)s AND id IN (
    SELECT id FROM customer_erasures WHERE organisation = %(organisation)s AND customer = %(customer)s);

-- name: of_customer_profiles
SELECT ctid FROM customer_profiles WHERE organisation = %(organisation)s AND customer = %(customer)s;

-- name: of_customers
SELECT ctid FROM customers WHERE organisation = %(organisation)s AND id = %(customer)s;

-- name: many_conversations
SELECT count(*) > %(most)s::bigint FROM (
    SELECT FROM conversations WHERE organisation = %(organisation)s AND customer = %(customer)s LIMIT %(most)s::bigint + 1) AS found;

-- name: hash_joins  if the statistics of the tables do not know the organisation yet, a nested loop would compare each row with each conversation
SET LOCAL enable_nestloop = off;

-- name: delete  {rows} is one of the statements of_... above; a limit of null is no limit
DELETE FROM {table} WHERE ctid = ANY (ARRAY(SELECT ctid FROM ({rows}) AS found LIMIT %(limit)s));

-- name: count
SELECT count(DISTINCT ctid) FROM (SELECT ctid FROM ({rows}) AS found LIMIT %(limit)s) AS counted;
