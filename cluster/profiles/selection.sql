-- name: page  {filter} is the condition of a segment on the attributes of the profile
SELECT customers.id FROM customers
WHERE organisation = %(organisation)s AND id > %(after)s
    AND (%(customer)s::text IS NULL OR id = %(customer)s)
    AND coalesce(profiling, %(unsaid)s)
    AND (%(everyone)s OR EXISTS (SELECT FROM customer_profiles
        WHERE customer_profiles.organisation = %(organisation)s AND customer_profiles.customer = customers.id AND {filter}))
    AND NOT EXISTS (SELECT FROM customer_erasures AS erasure
        WHERE erasure.organisation = %(organisation)s AND erasure.id = customers.id AND erased_at = 'infinity')
ORDER BY id
LIMIT %(limit)s;

-- name: refuses  whether the customer exists, and may not have a profile
SELECT NOT coalesce(profiling, %(unsaid)s) FROM customers WHERE organisation = %(organisation)s AND id = %(customer)s;

-- name: delete_without_consent  after the setting has changed
DELETE FROM customer_profiles AS profile USING customers
WHERE profile.organisation = %(organisation)s AND customers.organisation = profile.organisation
    AND customers.id = profile.customer AND NOT coalesce(profiling, %(unsaid)s);
