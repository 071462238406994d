-- name: limit  facts before this time may be deleted, if their roll-ups are complete
UPDATE analytics_progress AS progress
SET facts_since = greatest(progress.facts_since, horizon.at)
FROM organisations AS organisation, LATERAL (
    SELECT date_trunc('hour', start_of_day((now() AT TIME ZONE time_zone)::date - %(days)s, time_zone), 'UTC') AS at
) AS horizon
WHERE organisation.id = %(organisation)s AND progress.organisation = organisation.id
    AND progress.rolled_through >= horizon.at
    AND NOT EXISTS (SELECT FROM dirty_windows AS dirty WHERE dirty.organisation = progress.organisation
        AND dirty.about = 'platform' AND dirty.hour < horizon.at);

-- name: keep_rollups  the triggers mark no windows in this transaction
SELECT set_config('cluster.keep_rollups', 'on', true) WHERE %(organisation)s <> '';

-- name: delete_messages
DELETE FROM messages WHERE ctid = ANY (ARRAY(
    SELECT message.ctid FROM messages AS message JOIN analytics_progress AS progress USING (organisation)
    WHERE message.organisation = %(organisation)s AND occurred_at < facts_since LIMIT %(limit)s));

-- name: delete_customer_events
DELETE FROM customer_events WHERE ctid = ANY (ARRAY(
    SELECT event.ctid FROM customer_events AS event JOIN analytics_progress AS progress USING (organisation)
    WHERE event.organisation = %(organisation)s AND occurred_at < facts_since LIMIT %(limit)s));

-- name: delete_conversations  a row whose message or event arrives now is deleted another night
DELETE FROM conversations WHERE ctid = ANY (ARRAY(
    SELECT conversation.ctid
    FROM conversations AS conversation JOIN analytics_progress AS progress USING (organisation)
    WHERE conversation.organisation = %(organisation)s AND last_event_at < facts_since
        AND NOT EXISTS (SELECT FROM customer_events AS event WHERE event.organisation = conversation.organisation
            AND event.conversation = conversation.id)
        AND NOT EXISTS (SELECT FROM messages AS message WHERE message.organisation = conversation.organisation
            AND message.conversation = conversation.id)
    LIMIT %(limit)s));
