-- name: newest  {filter} is the condition of a segment on the attributes of the profile
SELECT profile.customer, attributes, parts, computed_at, external_id
FROM customer_profiles AS profile JOIN customers ON customers.organisation = profile.organisation
    AND customers.id = profile.customer
WHERE profile.organisation = %(organisation)s AND {filter}
  AND (customers.created_at, customers.id) < (%(from_at)s::timestamptz, %(from_id)s)
  AND (customers.created_at, customers.id) > (%(to_at)s::timestamptz, %(to_id)s)
ORDER BY customers.created_at DESC, customers.id DESC
LIMIT %(limit)s;

-- name: oldest
SELECT profile.customer, attributes, parts, computed_at, external_id
FROM customer_profiles AS profile JOIN customers ON customers.organisation = profile.organisation
    AND customers.id = profile.customer
WHERE profile.organisation = %(organisation)s AND {filter}
  AND (customers.created_at, customers.id) > (%(from_at)s::timestamptz, %(from_id)s)
  AND (customers.created_at, customers.id) < (%(to_at)s::timestamptz, %(to_id)s)
ORDER BY customers.created_at, customers.id
LIMIT %(limit)s;

-- name: places  also of a customer who has left the segment, so that a reader can ask for the next page
SELECT min(created_at), max(created_at) FROM customers WHERE organisation = %(organisation)s AND id = %(id)s;

-- name: count
SELECT count(*) FROM customer_profiles WHERE organisation = %(organisation)s AND {filter};

-- name: columns  the names of attributes with the JSON types of their values
SELECT key, array_agg(DISTINCT jsonb_typeof(value)) FROM customer_profiles, jsonb_each(attributes)
WHERE organisation = %(organisation)s AND {filter}
GROUP BY key ORDER BY key;

-- name: export
SELECT profile.customer, external_id, computed_at, attributes
FROM customer_profiles AS profile JOIN customers ON customers.organisation = profile.organisation
    AND customers.id = profile.customer
WHERE profile.organisation = %(organisation)s AND {filter}
ORDER BY profile.customer;
