-- Webhook events about the end of bulk ingests, copies of stores and imports of events, and about schedules whose job failed
-- (cluster/webhooks). Every job also has the events of migration 0020.

CREATE FUNCTION webhook_event_of_kind() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    noun text := CASE NEW.kind WHEN 'ingest' THEN 'ingest' WHEN 'copy_store' THEN 'vector_store.copy' WHEN 'import_events' THEN 'event_import' END;
    ending text := CASE NEW.state WHEN 'succeeded' THEN 'completed' ELSE NEW.state END;
BEGIN
    IF noun IS NOT NULL THEN
        PERFORM record_webhook_event(NEW.organisation, noun || '.' || ending, jsonb_build_object('id', NEW.id)
            || CASE WHEN NEW.kind IN ('ingest', 'copy_store') AND NEW.subject IS NOT NULL
                THEN jsonb_build_object('vector_store_id', NEW.subject) ELSE '{}' END);
    END IF;
    IF NEW.state = 'failed' AND NEW.schedule IS NOT NULL THEN
        PERFORM record_webhook_event(NEW.organisation, 'schedule.failed',
            jsonb_build_object('id', NEW.schedule, 'job_id', NEW.id));
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER webhook_event_of_kind AFTER UPDATE OF state ON jobs FOR EACH ROW
WHEN (NEW.state <> OLD.state AND NEW.state IN ('succeeded', 'failed', 'cancelled')
    AND (NEW.schedule IS NOT NULL OR NEW.kind IN ('ingest', 'copy_store', 'import_events')))
EXECUTE FUNCTION webhook_event_of_kind();
