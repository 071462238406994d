-- name: share_store  the deletion of the store waits until the transaction ends
SELECT expired_at IS NOT NULL OR expires_at IS NOT NULL AND expires_at <= now()
FROM vector_stores
WHERE organisation = %(organisation)s AND id = %(id)s AND deleted_at IS NULL
FOR SHARE;
