-- name: set
INSERT INTO provider_keys AS stored (organisation, provider, token) VALUES (%(organisation)s, %(provider)s, %(token)s)
ON CONFLICT (organisation, provider) DO UPDATE SET token = excluded.token, updated_at = now();

-- name: find
SELECT token FROM provider_keys WHERE organisation = %(organisation)s AND provider = %(provider)s;

-- name: list
SELECT organisation, provider, token, updated_at FROM provider_keys
WHERE organisation = %(organisation)s ORDER BY provider;

-- name: list_all  for the operator's rotation and for the doctor
SELECT organisation, provider, token, updated_at FROM provider_keys ORDER BY organisation, provider;

-- name: replace  unless it was set again meanwhile; the key itself is the same, so its date stays
UPDATE provider_keys SET token = %(token)s
WHERE organisation = %(organisation)s AND provider = %(provider)s AND token = %(old)s;

-- name: delete
DELETE FROM provider_keys WHERE organisation = %(organisation)s AND provider = %(provider)s;
