-- name: settings  a crash of the server can lose the slices of its last second
SELECT set_config('synchronous_commit', 'off', true), set_config('jit', 'off', true);

-- name: lock  in one order, so that two transactions that lock several rates do not deadlock
SELECT pg_advisory_xact_lock(hashtextextended('rate/' || rate, 0))
FROM (SELECT DISTINCT unnest(%(rates)s::text[]) AS rate ORDER BY rate) AS sorted;

-- name: settle  a slice that ended: what was used of it counts for a window after its last use
INSERT INTO rate_slices AS slice (rate, id, amount, counts_until)
SELECT rate, id, used, clock_timestamp() + (window_s - age_s) * interval '1 second'
FROM unnest(%(rates)s::text[], %(ids)s::uuid[], %(used)s::bigint[], %(ages_s)s::float8[], %(windows_s)s::float8[])
    AS ended (rate, id, used, age_s, window_s)
ON CONFLICT (rate, id) DO UPDATE SET amount = excluded.amount, counts_until = excluded.counts_until;

-- name: forget
DELETE FROM rate_slices WHERE rate = ANY(%(rates)s::text[]) AND (counts_until <= clock_timestamp() OR amount = 0);

-- name: delete_expired_of_all
DELETE FROM rate_slices WHERE counts_until <= clock_timestamp();

-- name: take  slices for the asked rates; each answer has the room that is left, and when amounts stop counting
WITH clock AS MATERIALIZED (SELECT clock_timestamp() AS now),
asked AS (
    SELECT * FROM unnest(%(rates)s::text[], %(ids)s::uuid[], %(limits)s::bigint[], %(smallest)s::bigint[], %(largest)s::bigint[],
        %(needs)s::bigint[], %(windows_s)s::float8[]) AS one (rate, id, most, smallest, largest, need, window_s)
),
counted AS MATERIALIZED (
    SELECT slice.rate, slice.counts_until, slice.amount,
        sum(slice.amount) OVER (PARTITION BY slice.rate ORDER BY slice.counts_until, slice.id) AS freed
    FROM rate_slices AS slice, clock WHERE slice.rate IN (SELECT rate FROM asked) AND slice.counts_until > clock.now
),
room AS (
    SELECT asked.*, asked.most - coalesce((SELECT sum(amount) FROM counted WHERE counted.rate = asked.rate), 0)::bigint AS room FROM asked
),
granted AS (
    SELECT room.*, CASE
        WHEN need = 0 OR room < smallest THEN 0
        ELSE least(room, greatest(need, least(most / %(slices)s, room / %(tail)s)))
    END AS amount FROM room
),
taken AS (
    INSERT INTO rate_slices (rate, id, amount, counts_until)
    SELECT rate, id, amount, clock.now + (%(held_s)s + window_s) * interval '1 second' FROM granted, clock WHERE amount > 0
)
SELECT rate, amount, room - amount AS room,
    coalesce(extract(epoch FROM (SELECT max(counts_until) FROM counted WHERE counted.rate = granted.rate) - clock.now), 0)::float8 AS reset_s,
    coalesce(extract(epoch FROM (SELECT min(counts_until) FROM counted WHERE counted.rate = granted.rate) - clock.now), 0)::float8 AS next_s,
    coalesce(extract(epoch FROM (SELECT min(counts_until) FROM counted
        WHERE counted.rate = granted.rate AND freed >= largest - room + amount) - clock.now), 0)::float8 AS wait_s
FROM granted, clock;
