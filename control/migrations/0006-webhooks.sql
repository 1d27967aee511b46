-- Webhooks: what happens in classes waits in a table until its receiver has taken it.
-- depends: 0005-health

-- The locks below are short once they are there; see 0003.
SET LOCAL lock_timeout = '2s';

CREATE TABLE webhook_event (
    -- Order: a class's seats and segments change only under its lock, so within a class the numbers
    -- are in the order of the commits.
    number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    -- What the receiver knows the event by, however often it is sent.
    event_id uuid NOT NULL DEFAULT gen_random_uuid(),
    class_id uuid NOT NULL,
    kind text NOT NULL,
    happened_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    data jsonb NOT NULL,
    attempts integer NOT NULL DEFAULT 0,
    next_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT webhook_event_kind_known CHECK (kind IN (
        'class.started', 'class.ended', 'attendee.joined', 'attendee.left', 'attendance.ready'))
);
CREATE INDEX webhook_event_by_class ON webhook_event (class_id, number);

CREATE FUNCTION webhook_of_class() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    about jsonb := jsonb_build_object('class_id', NEW.class_id, 'teacher_id', NEW.teacher_id,
        'title', NEW.title, 'started_at', NEW.started_at);
BEGIN
    IF NEW.state = 'live' THEN
        -- Of an end that was taken back.
        DELETE FROM webhook_event WHERE class_id = NEW.class_id AND kind = 'attendance.ready';
        INSERT INTO webhook_event (class_id, kind, data)
        VALUES (NEW.class_id, 'class.started', about || jsonb_build_object('reopened', OLD.state = 'ended'));
    ELSE
        about := about || jsonb_build_object('ended_at', NEW.ended_at, 'attendees', NEW.attendees);
        INSERT INTO webhook_event (class_id, kind, data) VALUES (NEW.class_id, 'class.ended', about);
        -- Ends are an estimate until the nodes have confirmed them, which their digests do in 30 s.
        INSERT INTO webhook_event (class_id, kind, data, next_at)
        VALUES (NEW.class_id, 'attendance.ready', jsonb_build_object('class_id', NEW.class_id),
                clock_timestamp() + interval '45 seconds');
    END IF;
    RETURN NULL;
END $$;

CREATE FUNCTION webhook_of_attendance() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    about jsonb := jsonb_build_object('class_id', NEW.class_id, 'user_id', NEW.user_id,
        'session_id', NEW.session_id);
BEGIN
    IF OLD.connected_at IS NULL AND NEW.connected_at IS NOT NULL THEN
        INSERT INTO webhook_event (class_id, kind, data)
        VALUES (NEW.class_id, 'attendee.joined',
                about || jsonb_build_object('joined_at', NEW.joined_at));
    END IF;
    IF NEW.connected_at IS NOT NULL AND NEW.left_at IS NOT NULL
       AND (OLD.connected_at IS NULL OR OLD.left_at IS NULL) THEN
        INSERT INTO webhook_event (class_id, kind, data)
        VALUES (NEW.class_id, 'attendee.left', about || jsonb_build_object(
            'left_at', NEW.left_at, 'reason', NEW.reason, 'estimated', NEW.estimated));
    END IF;
    RETURN NULL;
END $$;

-- Disabled, a trigger costs nothing; a web process that has a webhook enables them (`webhook_switch`).
CREATE TRIGGER webhook_of_class AFTER UPDATE OF state ON class
    FOR EACH ROW WHEN (OLD.state IS DISTINCT FROM NEW.state) EXECUTE FUNCTION webhook_of_class();
ALTER TABLE class DISABLE TRIGGER webhook_of_class;
CREATE TRIGGER webhook_of_attendance AFTER UPDATE OF connected_at, left_at ON attendance
    FOR EACH ROW WHEN (
        (OLD.connected_at IS NULL AND NEW.connected_at IS NOT NULL)
        OR (OLD.left_at IS NULL AND NEW.left_at IS NOT NULL AND NEW.connected_at IS NOT NULL))
    EXECUTE FUNCTION webhook_of_attendance();
ALTER TABLE attendance DISABLE TRIGGER webhook_of_attendance;

-- With the rights of the tables' owner: a web process may be somebody less.
CREATE FUNCTION webhook_switch(wanted boolean) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    is_on boolean;
BEGIN
    -- Of two processes that start at once one switches and the other finds it done.
    PERFORM pg_advisory_xact_lock(83860366032900);
    SELECT coalesce(bool_and(tgenabled <> 'D'), false) INTO is_on FROM pg_trigger
    WHERE tgname IN ('webhook_of_class', 'webhook_of_attendance');
    IF is_on = wanted THEN
        RETURN false;
    END IF;
    PERFORM set_config('lock_timeout', '2s', true);
    IF wanted THEN
        ALTER TABLE class ENABLE TRIGGER webhook_of_class;
        ALTER TABLE attendance ENABLE TRIGGER webhook_of_attendance;
    ELSE
        ALTER TABLE class DISABLE TRIGGER webhook_of_class;
        ALTER TABLE attendance DISABLE TRIGGER webhook_of_attendance;
        -- There is no receiver for it any more.
        DELETE FROM webhook_event;
    END IF;
    RETURN true;
END $$;
