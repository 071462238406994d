-- name: add_customers  events with other times follow later
INSERT INTO customers (organisation, id, external_id, first_seen_at, last_seen_at)
VALUES (%(organisation)s, %(id)s, %(external_id)s, now(), now())
ON CONFLICT (organisation, id) DO NOTHING;

-- name: change_customers  an event customer.seen from before this change no longer describes the customer
UPDATE customers SET
    name = CASE WHEN 'name' = ANY (%(given)s::text[]) THEN %(name)s::text ELSE name END,
    email = CASE WHEN 'email' = ANY (%(given)s::text[]) THEN %(email)s::text ELSE email END,
    properties = CASE WHEN 'properties' = ANY (%(given)s::text[]) THEN coalesce(%(properties)s::jsonb, '{}') ELSE properties END,
    profiling = CASE WHEN 'profiling' = ANY (%(given)s::text[]) THEN %(profiling)s::boolean ELSE profiling END,
    profiling_at = CASE WHEN 'profiling' = ANY (%(given)s::text[]) THEN clock_timestamp() ELSE profiling_at END,
    described_at = greatest(described_at, clock_timestamp())
WHERE organisation = %(organisation)s AND id = %(id)s;

-- name: is_being_erased
SELECT FROM customer_erasures
WHERE organisation = %(organisation)s AND id = %(id)s AND erased_at = 'infinity';
