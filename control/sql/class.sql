-- create: Add a class; no row where the teacher used the creation key before.
INSERT INTO class (class_id, teacher_id, title, capacity, link, creation_key, creation_digest)
VALUES ($1, $2, $3, $4, $5, $6, $7)
ON CONFLICT (teacher_id, creation_key) WHERE creation_key IS NOT NULL DO NOTHING
RETURNING class_id

-- by_creation_key: Find the class that an earlier attempt of the same request made.
SELECT class_id, creation_digest FROM class WHERE teacher_id = $1 AND creation_key = $2

-- show: Show one class with those present now.
SELECT class.*,
       extract(epoch FROM coalesce(ended_at, clock_timestamp()) - started_at)::float8 AS duration_s,
       (SELECT count(*) FROM seat WHERE seat.class_id = class.class_id
           AND NOT is_host AND confirm_by IS NULL AND grace_until IS NULL) AS present
FROM class WHERE class_id = $1

-- own: List a teacher's classes, newest first, by pages.
SELECT class.*,
       extract(epoch FROM coalesce(ended_at, clock_timestamp()) - started_at)::float8 AS duration_s,
       (SELECT count(*) FROM seat WHERE seat.class_id = class.class_id
           AND NOT is_host AND confirm_by IS NULL AND grace_until IS NULL) AS present
FROM class
WHERE teacher_id = $1 AND class_id < coalesce($2::uuid, 'ffffffff-ffff-ffff-ffff-ffffffffffff')
ORDER BY class_id DESC LIMIT $3

-- by_link: Show what the holder of a link may see of its class, in every state.
SELECT class_id, link_version, title, account.name AS teacher_name, state, attendees, capacity, started_at,
       extract(epoch FROM coalesce(ended_at, clock_timestamp()) - started_at)::float8 AS duration_s,
       (SELECT count(*) FROM seat WHERE seat.class_id = class.class_id
           AND NOT is_host AND confirm_by IS NULL AND grace_until IS NULL) AS present
FROM class JOIN account ON account_id = teacher_id
WHERE link = $1

-- resolve_links: Find the classes of links, and which of their links they are.
SELECT link, class_id, link_version FROM class WHERE link = ANY($1::text[])

-- watched: Show state and presence of the classes whose lobbies are open.
SELECT class_id, link_version, state,
       (SELECT count(*) FROM seat WHERE seat.class_id = class.class_id
           AND NOT is_host AND confirm_by IS NULL AND grace_until IS NULL) AS present
FROM class WHERE class_id = ANY($1::uuid[])

-- titles: Show what an admission carries of its class.
SELECT class_id, title, capacity, origin_node, placement_epoch FROM class WHERE class_id = ANY($1::uuid[])

-- exists: Tell whether there is such a class, and whose it is.
SELECT teacher_id, state FROM class WHERE class_id = $1

-- lock: Lock classes against every change of their seats, in the order of their ids.
SELECT class_id, teacher_id, title, capacity, used, state, link_version, origin_node,
       placement_epoch, ended_at, ended_at > clock_timestamp() - make_interval(secs => $2) AS may_reopen
FROM class WHERE class_id = ANY($1::uuid[])
ORDER BY class_id
FOR NO KEY UPDATE

-- change: Change title and capacity; NULL leaves one as it is.
UPDATE class SET title = coalesce($2, title), capacity = coalesce($3, capacity) WHERE class_id = $1

-- rotate_link: Put a new link in the place of the old one.
UPDATE class SET link = $2, link_version = link_version + 1 WHERE class_id = $1

-- start: Let a created class begin.
UPDATE class SET state = 'live', started_at = clock_timestamp() WHERE class_id = $1

-- reopen: Let an ended class go on; word of its end that is still on its way is not for new sessions.
UPDATE class SET state = 'live', ended_at = NULL, placement_epoch = placement_epoch + 1 WHERE class_id = $1

-- end: End a class, every segment and every seat in it; returns the nodes that carried it.
WITH ended AS (
    UPDATE class SET state = 'ended', used = 0,
           ended_at = greatest(started_at, clock_timestamp())
    WHERE class_id = $1
    RETURNING class_id, ended_at, origin_node, placement_epoch
), told AS (
    INSERT INTO node_notice (node_id, class_id, epoch)
    SELECT carrier.node_id, ended.class_id, placement_epoch FROM ended, (
        SELECT node_id FROM seat WHERE class_id = $1 AND node_id IS NOT NULL
        UNION
        SELECT origin_node FROM ended WHERE origin_node IS NOT NULL
        UNION
        SELECT node_id FROM class_edge WHERE class_id = $1) AS carrier
    RETURNING node_id, epoch
), felled AS (
    DELETE FROM class_edge WHERE class_id = $1
), closed AS (
    UPDATE attendance
    -- A continued session that its node has not reported yet: see `seat.end`.
    SET left_at = greatest(joined_at, connected_at, least(ended.ended_at, last_seen)),
        -- Until the node has said whether it saw the student until then.
        estimated = true, reason = 'class_ended'
    FROM ended, seat, LATERAL (
        SELECT CASE WHEN confirm_by IS NOT NULL THEN silent_since END AS last_seen) AS sign
    WHERE seat.class_id = $1 AND attendance.session_id = seat.session_id AND left_at IS NULL
), freed AS (
    DELETE FROM seat WHERE class_id = $1
)
SELECT told.node_id, told.epoch, internal_url, secret
FROM told JOIN node ON node.node_id = told.node_id AND NOT reaped

-- deserted: Find live classes whose host has not been publishing for a while, a bounded number.
SELECT class_id FROM seat
WHERE is_host AND session_id IS NULL
  AND silent_since < clock_timestamp() - make_interval(secs => $1)
LIMIT 100

-- is_deserted: Ask it again of one class that is locked.
SELECT class_id FROM seat
WHERE class_id = $1 AND is_host AND session_id IS NULL
  AND silent_since < clock_timestamp() - make_interval(secs => $2)
