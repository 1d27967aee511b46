-- read: Read the seats of some people; those in locked classes cannot change any more.
SELECT user_id, class_id, session_id, continues, is_host, fence, node_id, silent_since,
       confirm_by IS NOT NULL AS unconfirmed,
       grace_until IS NOT NULL AS in_grace,
       (NOT is_host AND coalesce(grace_until, confirm_by) < clock_timestamp()) IS TRUE AS overdue,
       (SELECT title FROM class WHERE class.class_id = seat.class_id) AS title
FROM seat WHERE user_id = ANY($1::uuid[])

-- of: Look up where some people sit, without locking.
SELECT user_id, class_id,
       (NOT is_host AND coalesce(grace_until, confirm_by) < clock_timestamp()) IS TRUE AS overdue
FROM seat WHERE user_id = ANY($1::uuid[])

-- lock_accounts: Hold accounts against deletion and change of role until the seats are written.
SELECT account_id FROM account
WHERE account_id = ANY($1::uuid[]) AND deleted_at IS NULL AND disabled_at IS NULL
ORDER BY account_id
FOR KEY SHARE

-- known_sessions: Find which of these sessions were admitted already, by a commit nobody heard of.
SELECT session_id, attendance.fence AS opened_fence, seat.fence
FROM attendance LEFT JOIN seat USING (session_id)
WHERE session_id = ANY($1::uuid[])

-- take: Seat people who sit nowhere; those whom another transaction seated meanwhile are left out.
WITH moment AS MATERIALIZED (
    SELECT clock_timestamp() AS at
), wanted AS MATERIALIZED (
    SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::uuid[])
        AS w (user_id, class_id, session_id, node_id)
), taken AS (
    INSERT INTO seat (user_id, class_id, session_id, is_host, fence, node_id, confirm_by)
    SELECT user_id, class_id, session_id, false, nextval('seat_fence'), node_id,
           at + make_interval(secs => $5)
    FROM wanted, moment
    ORDER BY user_id
    ON CONFLICT (user_id) DO NOTHING
    RETURNING user_id, class_id, session_id, node_id, fence
), opened AS (
    INSERT INTO attendance (session_id, user_id, class_id, node_id, fence, joined_at)
    SELECT session_id, user_id, class_id, node_id, fence, at FROM taken, moment
), counted AS (
    UPDATE class SET used = used + more.people
    FROM (SELECT class_id, count(*) AS people FROM taken GROUP BY class_id) AS more
    WHERE class.class_id = more.class_id
)
SELECT user_id, fence FROM taken

-- move: Give people who have a seat a new session in it, or move the seat to another class.
WITH moment AS MATERIALIZED (
    SELECT clock_timestamp() AS at
), wanted AS MATERIALIZED (
    SELECT w.*, seat.class_id AS old_class, seat.session_id AS old_session,
           seat.fence AS old_fence, seat.node_id AS old_node, seat.grace_until AS old_grace,
           greatest(seat.fence + 1, nextval('seat_fence')) AS new_fence,
           -- Of a session that was continued and has not been seen since: when it was.
           CASE WHEN seat.confirm_by IS NOT NULL THEN seat.silent_since END AS last_seen,
           at
    FROM moment, unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::uuid[], $5::uuid[])
        AS w (user_id, class_id, session_id, node_id, continues)
    JOIN seat USING (user_id)
), moved AS (
    UPDATE seat
    SET class_id = wanted.class_id, session_id = wanted.session_id, fence = new_fence,
        continues = wanted.continues, node_id = wanted.node_id,
        confirm_by = at + make_interval(secs => $6),
        -- The earlier incarnation of the same session ends here, should the new one never connect.
        silent_since = CASE WHEN wanted.session_id = old_session THEN coalesce(last_seen, at) END,
        grace_until = NULL
    FROM wanted WHERE seat.user_id = wanted.user_id
), told AS (
    INSERT INTO node_notice (node_id, session_id, fence, reason)
    SELECT old_node, old_session, old_fence, 'replaced' FROM wanted
    WHERE old_node IS NOT NULL AND old_grace IS NULL
), closed AS (
    -- Estimated: the node may know that the old session fell silent before it was replaced.
    UPDATE attendance
    SET left_at = greatest(joined_at, connected_at, least(at, last_seen)), estimated = true,
        reason = CASE WHEN wanted.class_id = old_class THEN 'replaced' ELSE 'left' END
    FROM wanted
    WHERE attendance.session_id = old_session AND old_session <> wanted.session_id
      AND left_at IS NULL
), continued AS (
    UPDATE attendance SET fence = new_fence, node_id = wanted.node_id
    FROM wanted
    WHERE attendance.session_id = old_session AND old_session = wanted.session_id
), opened AS (
    INSERT INTO attendance (session_id, user_id, class_id, node_id, fence, joined_at)
    SELECT session_id, user_id, class_id, node_id, new_fence, at
    FROM wanted WHERE session_id <> old_session
), counted AS (
    UPDATE class SET used = used + change.people
    FROM (
        SELECT class_id, sum(people) AS people FROM (
            SELECT class_id, 1 AS people FROM wanted WHERE class_id <> old_class
            UNION ALL
            SELECT old_class, -1 FROM wanted WHERE class_id <> old_class) AS steps
        GROUP BY class_id) AS change
    WHERE class.class_id = change.class_id AND change.people <> 0
)
SELECT user_id, new_fence AS fence FROM wanted

-- take_host: Give the teacher the host's seat; no row where the teacher sits somewhere already.
INSERT INTO seat (user_id, class_id, is_host, fence, silent_since)
VALUES ($1, $2, true, nextval('seat_fence'), clock_timestamp())
ON CONFLICT DO NOTHING
RETURNING user_id

-- publish: Give the host's seat a new publishing session and revoke the one before.
--
-- `resume_of` ($6) NULL takes the place from whoever has it; else no row where another page of the
-- teacher has published since that session.
WITH old AS MATERIALIZED (
    SELECT *, greatest(fence + 1, nextval('seat_fence')) AS new_fence
    FROM seat WHERE user_id = $1 AND class_id = $2 AND is_host
      AND ($6::uuid IS NULL OR coalesce(session_id, continues) IS NULL
           OR $6 IN (session_id, continues)) IS TRUE
), told AS (
    INSERT INTO node_notice (node_id, session_id, fence, reason)
    SELECT node_id, session_id, fence, 'replaced' FROM old
    WHERE node_id IS NOT NULL AND session_id IS NOT NULL
)
UPDATE seat
SET session_id = $3, fence = new_fence, node_id = $4, continues = $6,
    confirm_by = clock_timestamp() + make_interval(secs => $5)
FROM old WHERE seat.user_id = old.user_id
RETURNING seat.fence

-- by_session: Find the open session of an account, with its class and its node.
SELECT seat.session_id, seat.fence, seat.class_id, class.title, class.capacity,
       class.placement_epoch, seat.user_id,
       account.name, seat.is_host, seat.node_id, node.internal_url, node.secret
FROM seat
JOIN class USING (class_id)
JOIN account ON account_id = user_id
LEFT JOIN node ON node.node_id = seat.node_id AND NOT reaped
WHERE session_id = $1 AND user_id = $2 AND grace_until IS NULL

-- bind: Write down which nodes serve sessions, their classes locked; says what could not be.
--
-- `as_edge` ($5): only while the node is an edge of the class; it may have been closed meanwhile.
WITH wanted AS MATERIALIZED (
    SELECT w.*, NOT as_edge OR EXISTS (
        SELECT FROM class_edge AS edge
        WHERE edge.class_id = w.class_id AND edge.node_id = w.node_id) AS stands
    FROM unnest($1::uuid[], $2::uuid[], $3::bigint[], $4::uuid[], $5::boolean[], $6::uuid[])
        AS w (user_id, session_id, fence, node_id, as_edge, class_id)
), bound AS (
    UPDATE seat SET node_id = wanted.node_id
    FROM wanted
    WHERE seat.user_id = wanted.user_id AND seat.session_id = wanted.session_id
      AND seat.fence = wanted.fence AND grace_until IS NULL AND stands
    RETURNING seat.session_id, seat.fence
), noted AS (
    UPDATE attendance SET node_id = wanted.node_id
    FROM bound JOIN wanted USING (session_id, fence)
    WHERE attendance.session_id = bound.session_id
)
SELECT wanted.session_id, wanted.fence, stands, bound.session_id IS NOT NULL AS bound
FROM wanted LEFT JOIN bound USING (session_id, fence)

-- waits: Tell whether a session could not be bound only because its node died meanwhile.
SELECT EXISTS (
    SELECT FROM seat
    WHERE user_id = $1 AND class_id = $3
      AND ((session_id = $2 AND grace_until IS NOT NULL) OR (is_host AND session_id IS NULL)))

-- classes_of_sessions: Find the classes that an end of these sessions may change.
SELECT class_id FROM attendance WHERE session_id = ANY($1::uuid[])
UNION
SELECT class_id FROM seat WHERE session_id = ANY($1::uuid[])

-- end: End sessions: close their segments, and free their seats or leave them in grace.
--
-- One row of the arrays is one end: `fence` NULL means whichever; `ended_at` NULL means now;
-- `grace_s` NULL frees the seat; `keep_fresh` false frees it also where the person was never
-- connected to the class; `overdue` ends only what is past its time; `user_id` NULL means anybody;
-- `node_id` NULL means wherever: a node may end only what is on it.
--
-- A continued session that its node has not reported yet was last seen when it was continued
-- (`last_seen`): its segment ends there, unless its owner is who ends it.
WITH moment AS MATERIALIZED (
    SELECT clock_timestamp() AS at
), wanted AS MATERIALIZED (
    SELECT * FROM unnest($1::uuid[], $2::bigint[], $3::uuid[], $4::timestamptz[], $5::text[],
                         $6::boolean[], $7::float8[], $8::boolean[], $9::boolean[], $10::uuid[])
        AS w (session_id, fence, user_id, ended_at, reason, estimated, grace_s, keep_fresh, overdue,
              by_node)
), held AS MATERIALIZED (
    SELECT wanted.*, seat.user_id AS holder, seat.class_id, seat.is_host, seat.node_id,
           seat.fence AS held_fence, seat.grace_until, at,
           CASE WHEN reason IN ('never_connected', 'handshake_failed') THEN seat.confirm_by END
               AS grace_max,
           CASE WHEN seat.confirm_by IS NOT NULL AND reason NOT IN ('left', 'pagehide')
                THEN seat.silent_since END AS last_seen
    FROM wanted JOIN seat USING (session_id), moment
    WHERE (wanted.fence IS NULL OR wanted.fence = seat.fence)
      AND (wanted.user_id IS NULL OR wanted.user_id = seat.user_id)
      AND (wanted.by_node IS NULL OR wanted.by_node = seat.node_id)
      AND (NOT overdue OR coalesce(seat.grace_until, seat.confirm_by) < at)
), closed AS (
    UPDATE attendance
    SET left_at = greatest(joined_at, connected_at, least(
            left_at, coalesce(wanted.ended_at, moment.at), moment.at, class.ended_at, last_seen)),
        reason = coalesce(attendance.reason, CASE
            WHEN connected_at IS NOT NULL
             AND wanted.reason IN ('never_connected', 'handshake_failed') THEN 'disconnected'
            ELSE wanted.reason END),
        estimated = wanted.estimated OR last_seen IS NOT NULL
    FROM wanted LEFT JOIN held USING (session_id), moment, class
    WHERE attendance.session_id = wanted.session_id
      AND class.class_id = attendance.class_id
      AND (wanted.fence IS NULL OR wanted.fence = attendance.fence)
      AND (wanted.user_id IS NULL OR wanted.user_id = attendance.user_id)
      AND (wanted.by_node IS NULL OR wanted.by_node = attendance.node_id)
      AND (NOT wanted.overdue OR held.session_id IS NOT NULL)
      -- Late truth may only move an estimated end, and only earlier.
      AND (left_at IS NULL OR (attendance.estimated AND NOT wanted.estimated))
    RETURNING attendance.session_id
), told AS (
    INSERT INTO node_notice (node_id, session_id, fence, reason)
    SELECT node_id, session_id, held_fence, reason FROM held
    WHERE node_id IS NOT NULL AND grace_until IS NULL
), unpublished AS (
    UPDATE seat SET session_id = NULL, node_id = NULL, confirm_by = NULL,
           -- What its page goes on from: of a session that no node opened it has never heard.
           continues = CASE WHEN by_node IS NULL AND seat.confirm_by IS NOT NULL
                            THEN coalesce(continues, seat.session_id) ELSE seat.session_id END,
           silent_since = coalesce(held.ended_at, at)
    FROM held WHERE seat.user_id = holder AND held.is_host
), freed AS (
    DELETE FROM seat USING held
    WHERE seat.user_id = holder AND NOT held.is_host
      AND (grace_s IS NULL OR (NOT keep_fresh AND NOT EXISTS (
          SELECT FROM class_attendee AS known
          WHERE known.class_id = held.class_id AND known.user_id = holder)))
    RETURNING seat.class_id
), kept AS (
    UPDATE seat
    -- A session that did not come to be keeps the place no longer than it had to connect.
    SET confirm_by = NULL, grace_until = least(at + make_interval(secs => grace_s), grace_max),
        silent_since = coalesce(held.ended_at, at)
    FROM held
    WHERE seat.user_id = holder AND NOT held.is_host AND held.grace_until IS NULL
      AND grace_s IS NOT NULL AND (keep_fresh OR EXISTS (
          SELECT FROM class_attendee AS known
          WHERE known.class_id = held.class_id AND known.user_id = holder))
), counted AS (
    UPDATE class SET used = used - fewer.people
    FROM (SELECT class_id, count(*) AS people FROM freed GROUP BY class_id) AS fewer
    WHERE class.class_id = fewer.class_id
)
SELECT session_id FROM held

-- overdue: Find seats whose session never connected or whose grace is over, a bounded number.
SELECT seat.session_id, seat.fence, grace_until IS NOT NULL AS in_grace, silent_since,
       attendance.connected_at IS NOT NULL AS was_connected
FROM seat LEFT JOIN attendance USING (session_id)
WHERE coalesce(grace_until, confirm_by) < $2
LIMIT $1

-- of_node: List what a node holds according to us.
SELECT session_id, fence, confirm_by IS NULL AS connected
FROM seat
WHERE node_id = $1 AND session_id IS NOT NULL AND grace_until IS NULL
