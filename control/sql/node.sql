-- register: Let a node serve; no row where its id is taken by another or was declared dead.
INSERT INTO node (node_id, secret, internal_url, addresses, version, lease_until)
VALUES ($1, $2, $3, $4::text::jsonb, $5, clock_timestamp() + make_interval(secs => $6))
ON CONFLICT (node_id) DO UPDATE
SET alive_at = clock_timestamp(), lease_until = excluded.lease_until,
    internal_url = excluded.internal_url, addresses = excluded.addresses
WHERE NOT node.reaped AND node.secret = excluded.secret
RETURNING node_id

-- succeed: Let the leases of earlier boots end whose place the new node has taken.
UPDATE node SET lease_until = least(lease_until, clock_timestamp())
WHERE internal_url = $1 AND node_id <> $2 AND NOT reaped AND lease_until > clock_timestamp()
RETURNING node_id

-- beat: Renew a node's lease; no row where the node is unknown, dead or not the one it says.
UPDATE node
SET alive_at = clock_timestamp(), lease_until = clock_timestamp() + make_interval(secs => $3),
    beat_sequence = $4, sessions = $5, classes = $6, egress_bps = $7, cpu = $8, loop_lag_ms = $9,
    native_lag_ms = $10, draining = draining OR $11
WHERE node_id = $1 AND secret = $2 AND NOT reaped AND beat_sequence < $4
RETURNING beat_sequence, alive_at, draining

-- correct_load: Write down how many sessions a node holds that says it holds far fewer.
UPDATE node SET sessions = greatest(sessions, $2) WHERE node_id = $1

-- latest: Tell the number of a node's latest beat and hold later ones up until the commit.
SELECT beat_sequence FROM node WHERE node_id = $1 FOR NO KEY UPDATE

-- known: Tell why a beat was refused.
SELECT reaped, secret = $2 AS is_secret, beat_sequence FROM node WHERE node_id = $1

-- connected: Take down that sessions were connected; returns those that hold no seat there (any more).
--
-- $4 is the node that says so and $5 when it did.
WITH moment AS MATERIALIZED (
    SELECT clock_timestamp() AS at
), event AS MATERIALIZED (
    SELECT e.*, $5::timestamptz - make_interval(secs => ms_ago / 1000.0) AS connected_at
    FROM unnest($1::uuid[], $2::bigint[], $3::bigint[]) AS e (session_id, fence, ms_ago)
), confirmed AS (
    UPDATE seat SET confirm_by = NULL, silent_since = NULL
    FROM event
    WHERE seat.session_id = event.session_id AND seat.fence = event.fence
      AND seat.node_id = $4 AND confirm_by IS NOT NULL
), dated AS (
    -- Also for a segment that is closed by now: who connected, pressed leave and was quicker than
    -- the beat did attend.
    UPDATE attendance
    SET connected_at = greatest(joined_at, least(event.connected_at, at)),
        reason = CASE WHEN reason = 'never_connected' THEN 'disconnected' ELSE reason END
    FROM event, moment
    WHERE attendance.session_id = event.session_id AND attendance.fence = event.fence
      AND attendance.node_id = $4 AND attendance.connected_at IS NULL
      AND (left_at IS NULL OR greatest(joined_at, event.connected_at) <= left_at)
    RETURNING class_id, user_id, attendance.connected_at
), met AS (
    INSERT INTO class_attendee (class_id, user_id, first_connected_at)
    SELECT class_id, user_id, min(connected_at) FROM dated GROUP BY class_id, user_id
    ON CONFLICT DO NOTHING
    RETURNING class_id
), counted AS (
    UPDATE class SET attendees = attendees + more.people
    FROM (SELECT class_id, count(*) AS people FROM met GROUP BY class_id) AS more
    WHERE class.class_id = more.class_id
)
SELECT event.session_id, event.fence, coalesce(attendance.reason, 'replaced') AS reason
FROM event
LEFT JOIN attendance ON attendance.session_id = event.session_id
WHERE NOT EXISTS (
    SELECT FROM seat
    WHERE seat.session_id = event.session_id AND seat.fence = event.fence AND seat.node_id = $4
      AND grace_until IS NULL)

-- notices: What a node has to hear since its cursor, in the order of the transactions.
SELECT written_by, class_id, epoch, session_id, fence, reason FROM node_notice
WHERE node_id = $1 AND written_by >= $2
ORDER BY written_by
LIMIT $3

-- horizon: Every transaction below this number is over, so what it wrote can be seen.
SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint

-- forget_notices: Delete what the node has confirmed to have heard.
DELETE FROM node_notice WHERE node_id = $1 AND written_by < $2

-- drop_notices: Delete what nobody is left to hear.
DELETE FROM node_notice WHERE node_id = $1

-- roster: List the nodes that live. `fit`: they may get new classes, $2 is how old a beat may be.
SELECT node_id, internal_url, secret, addresses::text AS addresses, sessions, classes, cpu,
       egress_bps, loop_lag_ms, native_lag_ms,
       shunned_until > clock_timestamp() AS shunned, draining,
       NOT draining AND shunned_until < clock_timestamp()
       AND alive_at > clock_timestamp() - make_interval(secs => $2) AS fit
FROM node
WHERE lease_until > clock_timestamp() AND NOT reaped
ORDER BY node_id
LIMIT $1

-- all: List every node that lives or whose end is not settled, for people to read.
SELECT node_id, addresses::text AS addresses, registered_at, sessions, classes,
       CASE WHEN reaped OR lease_until < clock_timestamp() THEN 'dead'
            WHEN shunned_until > clock_timestamp() THEN 'unreachable'
            WHEN draining THEN 'draining' ELSE 'serving' END AS state
FROM node WHERE NOT settled
ORDER BY registered_at, node_id

-- drain: Let a node get no new classes and send away those it has; no row where it does not live.
UPDATE node SET draining = true
WHERE node_id = $1 AND NOT reaped AND lease_until > clock_timestamp()
RETURNING node_id

-- shun: Place nothing on a node for a while; tells whether it was shunned already.
UPDATE node SET shunned_until = clock_timestamp() + make_interval(secs => $2)
FROM (SELECT shunned_until > clock_timestamp() AS already FROM node WHERE node_id = $1) AS before
WHERE node_id = $1 AND NOT reaped
RETURNING before.already

-- moved: Find classes with sessions on a node that carries them no more.
--
-- An edge that was dropped has sessions of the placement that still stands: so the next one is named.
SELECT DISTINCT class.class_id, placement_epoch + 1 AS epoch
FROM seat JOIN class USING (class_id)
WHERE seat.node_id = $1 AND session_id IS NOT NULL AND grace_until IS NULL
  AND class.state = 'live' AND origin_node <> $1
  AND NOT EXISTS (SELECT FROM class_edge AS edge
                  WHERE edge.class_id = class.class_id AND edge.node_id = $1)

-- address: Find a node that lives.
SELECT node_id, internal_url, secret FROM node
WHERE node_id = $1 AND lease_until > clock_timestamp() AND NOT reaped

-- origin: Find on which node a class is, whether that node lives, and the nodes that are edges.
SELECT class.state, class.origin_node, class.placement_epoch,
       (lease_until > clock_timestamp() AND NOT reaped
        AND shunned_until < clock_timestamp()) IS TRUE AS alive, internal_url, secret,
       ARRAY(SELECT node_id FROM class_edge WHERE class_edge.class_id = class.class_id) AS edges
FROM class LEFT JOIN node ON node_id = origin_node
WHERE class_id = $1

-- place: Put classes, which are locked, on nodes, but none that was placed meanwhile or whose node has died.
UPDATE class SET origin_node = wanted.node_id, placement_epoch = placement_epoch + 1
FROM unnest($1::uuid[], $2::uuid[], $3::bigint[]) AS wanted (class_id, node_id, epoch)
WHERE class.class_id = wanted.class_id AND placement_epoch = wanted.epoch AND state <> 'ended'
  AND EXISTS (SELECT FROM node
              WHERE node.node_id = wanted.node_id AND lease_until > clock_timestamp() AND NOT reaped
                AND NOT draining AND shunned_until < clock_timestamp())
RETURNING class.class_id, placement_epoch

-- reap: Declare nodes dead whose lease was over at a moment at which all could beat.
UPDATE node SET reaped = true
WHERE NOT reaped AND lease_until < $1
RETURNING node_id, alive_at

-- unsettled: Find dead nodes whose sessions may still be open.
SELECT node_id, alive_at FROM node WHERE reaped AND NOT settled

-- settle: Note that nothing of a dead node is open any more.
UPDATE node SET settled = true WHERE node_id = $1 AND reaped

-- held: List open sessions of a node, a bounded number.
SELECT session_id, fence FROM seat
WHERE node_id = $1 AND session_id IS NOT NULL AND grace_until IS NULL
LIMIT $2

-- prune: Delete nodes that have been dead for long, a bounded number at a time.
DELETE FROM node WHERE node_id IN (
    SELECT node_id FROM node
    WHERE settled AND alive_at < clock_timestamp() - make_interval(secs => $1) LIMIT $2)

-- ready: Tell whether any node can serve.
SELECT EXISTS (SELECT FROM node WHERE lease_until > clock_timestamp() AND NOT reaped)

-- moment: Tell the time that counts, the database's.
SELECT clock_timestamp()
