-- name: get
SELECT {columns} FROM {table} WHERE organisation = %(organisation)s AND id = %(id)s AND {condition};

-- name: newest
SELECT {columns} FROM {table}
WHERE organisation = %(organisation)s AND {filter}
  AND ({at}, id) < (%(from_at)s::timestamptz, %(from_id)s)
  AND ({at}, id) > (%(to_at)s::timestamptz, %(to_id)s)
ORDER BY {at} DESC, id DESC
LIMIT %(limit)s;

-- name: oldest
SELECT {columns} FROM {table}
WHERE organisation = %(organisation)s AND {filter}
  AND ({at}, id) > (%(from_at)s::timestamptz, %(from_id)s)
  AND ({at}, id) < (%(to_at)s::timestamptz, %(to_id)s)
ORDER BY {at}, id
LIMIT %(limit)s;

-- name: places
SELECT min({at}), max({at}) FROM {table} WHERE organisation = %(organisation)s AND id = %(id)s AND {filter};
