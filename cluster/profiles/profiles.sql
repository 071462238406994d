-- name: write  locks the customers in order of their ids, so that a refusal waits or comes first
WITH given AS MATERIALIZED (
    SELECT customer, details, (
        SELECT coalesce(jsonb_object_agg(key, value -> 'value'), '{}') FROM jsonb_each(details)
        WHERE jsonb_typeof(value -> 'value') IN ('number', 'string', 'boolean')
    ) AS attributes
    FROM jsonb_to_recordset(%(rows)s::jsonb) AS given (customer text, details jsonb)
), allowed AS MATERIALIZED (
    SELECT customers.id FROM customers
    WHERE organisation = %(organisation)s AND id = ANY (ARRAY(SELECT customer FROM given)) AND coalesce(profiling, %(unsaid)s)
        AND NOT EXISTS (SELECT FROM customer_erasures AS erasure
            WHERE erasure.organisation = %(organisation)s AND erasure.id = customers.id AND erased_at = 'infinity')
    ORDER BY id FOR SHARE OF customers
)
INSERT INTO customer_profiles AS known (organisation, customer, attributes, parts, computed_at)
SELECT %(organisation)s, customer, attributes,
    jsonb_build_object(%(part)s::text, jsonb_build_object('version', %(version)s::text, 'as_of', %(as_of)s::timestamptz,
        'computed_at', clock_timestamp(), 'values', details)),
    clock_timestamp()
FROM given WHERE customer IN (SELECT id FROM allowed)
ORDER BY customer
ON CONFLICT (organisation, customer) DO UPDATE SET
    attributes = (known.attributes - ARRAY(
        SELECT jsonb_object_keys(coalesce(known.parts #> ARRAY[%(part)s::text, 'values'], '{}')))) || excluded.attributes,
    parts = known.parts || excluded.parts,
    computed_at = excluded.computed_at;

-- name: get
SELECT customers.id AS customer, attributes, parts, computed_at, external_id
FROM customers LEFT JOIN customer_profiles AS profile ON profile.organisation = customers.organisation
    AND profile.customer = customers.id
WHERE customers.organisation = %(organisation)s AND customers.id = %(customer)s;
