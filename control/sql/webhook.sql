-- lock: Be the one process that delivers, for as long as this connection lives.
SELECT pg_try_advisory_lock($1)

-- switch: Write down what happens from now on, or nothing; tells whether that is a change.
SELECT webhook_switch($1)

-- due: Find classes whose oldest event is due, a bounded number.
--
-- One index probe per class that has events, however many it has.
WITH RECURSIVE head AS (
    (SELECT class_id, number, next_at FROM webhook_event ORDER BY class_id, number LIMIT 1)
    UNION ALL
    SELECT following.* FROM head, LATERAL (
        SELECT class_id, number, next_at FROM webhook_event
        WHERE webhook_event.class_id > head.class_id ORDER BY class_id, number LIMIT 1) AS following
)
SELECT class_id FROM head WHERE next_at <= clock_timestamp() ORDER BY number LIMIT $1

-- of_class: Read a class's oldest events in their order, a bounded number.
SELECT number, event_id, kind, happened_at, data, attempts, next_at <= clock_timestamp() AS due
FROM webhook_event WHERE class_id = $1 ORDER BY number LIMIT $2

-- delivered: Delete what its receiver has taken.
DELETE FROM webhook_event WHERE number = ANY($1::bigint[])

-- put_off: Note a failed delivery; the class's later events wait with it.
UPDATE webhook_event
SET attempts = attempts + 1, next_at = clock_timestamp() + make_interval(secs => $2)
WHERE number = $1

-- waiting: Tell how many events wait, as far as counting is worth it, and how old the oldest one is.
SELECT count(*) AS events,
       coalesce(extract(epoch FROM clock_timestamp() - min(next_at)), 0)::float8 AS age_s
FROM (SELECT next_at FROM webhook_event ORDER BY number LIMIT $1) AS first
