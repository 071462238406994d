-- name: retire  the current secret expires after the overlap
UPDATE webhook_secrets SET expires_at = now() + make_interval(secs => %(keep_others_s)s)
WHERE organisation = %(organisation)s AND endpoint = %(endpoint)s AND expires_at IS NULL;

-- name: delete_expired
DELETE FROM webhook_secrets
WHERE organisation = %(organisation)s AND endpoint = %(endpoint)s AND expires_at <= now();

-- name: add
INSERT INTO webhook_secrets (organisation, endpoint, token, hint)
VALUES (%(organisation)s, %(endpoint)s, %(token)s, %(hint)s);

-- name: valid
SELECT token FROM webhook_secrets
WHERE organisation = %(organisation)s AND endpoint = %(endpoint)s AND (expires_at IS NULL OR expires_at > now())
ORDER BY number DESC;

-- name: list_of_all  for the operator's rotation and for the doctor
SELECT organisation, endpoint, number, token FROM webhook_secrets ORDER BY organisation, endpoint, number;

-- name: replace
UPDATE webhook_secrets SET token = %(token)s
WHERE organisation = %(organisation)s AND endpoint = %(endpoint)s AND number = %(number)s;
