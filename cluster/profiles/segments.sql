-- name: get
SELECT id, name, filters, created_at FROM customer_segments WHERE organisation = %(organisation)s AND id = %(id)s;
