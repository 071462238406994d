-- name: store_is_being_emptied  an earlier store of this id was deleted, and its vectors are still to be deleted
SELECT FROM vector_outbox WHERE organisation = %(organisation)s AND vector_store = %(store)s AND id = '';

-- name: reserve  an id that is being sent at this moment is not reserved; ids in order, so that writers do not deadlock
INSERT INTO vector_outbox AS entry (organisation, vector_store, id, index, collection, state, holder, due_at)
SELECT %(organisation)s, %(store)s, id, %(index)s, %(collection)s, 'writing', %(holder)s,
       now() + make_interval(secs => %(grace_s)s)
FROM unnest(%(ids)s::text[]) AS new (id)
ORDER BY id
ON CONFLICT (organisation, vector_store, id) DO UPDATE
SET state = 'writing', holder = excluded.holder, due_at = excluded.due_at, again = false, attempts = 0
WHERE entry.state <> 'sending' OR entry.due_at <= now();

-- name: release
DELETE FROM vector_outbox
WHERE organisation = %(organisation)s AND vector_store = %(store)s AND id = ANY(%(ids)s)
  AND state = 'writing' AND holder = %(holder)s;

-- name: give_up  the writer will not make them current
UPDATE vector_outbox SET state = 'due', holder = NULL, due_at = now()
WHERE organisation = %(organisation)s AND vector_store = %(store)s AND state = 'writing' AND holder = %(holder)s;

-- name: add  an id that is being sent is sent again after that; an id that a writer holds is left to it
INSERT INTO vector_outbox AS entry (organisation, vector_store, id, index, collection)
SELECT store.organisation, store.id, new.id, store.index, store.collection
FROM unnest(%(ids)s::text[]) AS new (id)
JOIN vector_stores AS store ON store.organisation = %(organisation)s AND store.id = %(store)s
ORDER BY new.id
ON CONFLICT (organisation, vector_store, id) DO UPDATE
SET again = entry.state = 'sending', due_at = CASE entry.state WHEN 'due' THEN now() ELSE entry.due_at END;

-- name: first_due  in any organisation, but of this store where one is named
SELECT organisation, vector_store, index, collection FROM vector_outbox
WHERE due_at <= now() AND (%(store)s::text IS NULL OR organisation = %(organisation)s AND vector_store = %(store)s)
  AND NOT (organisation || '/' || vector_store) = ANY(%(skipped)s)
ORDER BY due_at LIMIT 1;

-- name: take
UPDATE vector_outbox SET state = 'sending', holder = %(holder)s, again = false, attempts = attempts + 1,
    due_at = now() + make_interval(secs => %(lease_s)s)
WHERE organisation = %(organisation)s AND vector_store = %(store)s AND id = ANY(ARRAY(
    SELECT id FROM vector_outbox
    WHERE organisation = %(organisation)s AND vector_store = %(store)s AND due_at <= now()
    ORDER BY id LIMIT %(limit)s
    FOR UPDATE SKIP LOCKED))
RETURNING id;

-- name: sent
DELETE FROM vector_outbox
WHERE organisation = %(organisation)s AND vector_store = %(store)s AND holder = %(holder)s AND NOT again;

-- name: changed  searches of the index may find other chunks now (store_versions.py)
SELECT vector_store_changed(%(organisation)s, %(store)s);

-- name: send_again  those that changed meanwhile, and all of them after an error
UPDATE vector_outbox SET state = 'due', holder = NULL, again = false, due_at = now()
    + make_interval(secs => CASE WHEN %(failed)s THEN least(%(longest_s)s, %(first_s)s * 2 ^ least(attempts, 20)) ELSE 0 END)
WHERE organisation = %(organisation)s AND vector_store = %(store)s AND holder = %(holder)s;
