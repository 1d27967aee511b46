-- of_class: List the edges of a class.
SELECT node_id, parent, depth, placement_epoch, link_id, link_version, key, told, losses,
       made_at > clock_timestamp() - make_interval(secs => $2) AS young
FROM class_edge WHERE class_id = $1
ORDER BY depth, made_at, node_id

-- origin: Tell where a class is, without locking it.
SELECT state, origin_node, placement_epoch FROM class WHERE class_id = $1

-- nodes: Show how some nodes stand. `works`: they can carry a class.
SELECT node_id, internal_url, secret, addresses::text AS addresses, draining,
       sessions, classes, egress_bps, cpu, loop_lag_ms, native_lag_ms,
       lease_until > clock_timestamp() AND NOT reaped AND shunned_until < clock_timestamp() AS works
FROM node WHERE node_id = ANY($1::uuid[])

-- seated: Count those on each node of a class.
SELECT node_id, count(*) AS people FROM seat
WHERE class_id = $1 AND session_id IS NOT NULL AND grace_until IS NULL AND node_id IS NOT NULL
GROUP BY node_id

-- link: Give edges a new link, or make them edges; the class is locked.
INSERT INTO class_edge
    (class_id, node_id, parent, depth, placement_epoch, link_id, key, tell_after, losses)
SELECT $1, e.node_id, e.parent, e.depth, $2, e.link_id, e.key,
       clock_timestamp() + make_interval(secs => $3), e.losses
FROM unnest($4::uuid[], $5::uuid[], $6::smallint[], $7::uuid[], $8::bytea[], $9::integer[])
    AS e (node_id, parent, depth, link_id, key, losses)
ON CONFLICT (class_id, node_id) DO UPDATE
SET parent = excluded.parent, depth = excluded.depth, placement_epoch = excluded.placement_epoch,
    link_id = excluded.link_id, key = excluded.key, tell_after = excluded.tell_after,
    losses = excluded.losses, link_version = class_edge.link_version + 1, told = false,
    made_at = clock_timestamp()

-- sink: Write down the depths of edges that hang on one that was linked anew.
UPDATE class_edge SET depth = e.depth
FROM unnest($2::uuid[], $3::smallint[]) AS e (node_id, depth)
WHERE class_id = $1 AND class_edge.node_id = e.node_id AND class_edge.depth <> e.depth

-- drop: Let nodes be no edges of the class any more.
DELETE FROM class_edge WHERE class_id = $1 AND node_id = ANY($2::uuid[])

-- told: Write down that both ends of a link have taken it; nothing where it was replaced meanwhile.
UPDATE class_edge SET told = true WHERE class_id = $1 AND node_id = $2 AND link_id = $3

-- due: Take some links over whose telling was begun and not ended.
UPDATE class_edge SET tell_after = clock_timestamp() + make_interval(secs => $1)
WHERE (class_id, node_id) IN (
    SELECT class_id, node_id FROM class_edge
    WHERE NOT told AND tell_after < clock_timestamp()
    LIMIT $2
    FOR UPDATE SKIP LOCKED)
RETURNING class_id, node_id

-- ailing: Find classes in whose trees a node is gone or was placed elsewhere, or gives nothing to others.
SELECT DISTINCT edge.class_id
FROM class_edge AS edge
JOIN class USING (class_id)
LEFT JOIN node ON node.node_id = edge.node_id
LEFT JOIN class_edge AS above ON above.class_id = edge.class_id AND above.node_id = edge.parent
LEFT JOIN node AS giver ON giver.node_id = above.node_id
WHERE class.state <> 'live'
   OR edge.node_id = class.origin_node
   OR (node.lease_until > clock_timestamp() AND NOT node.reaped
       AND node.shunned_until < clock_timestamp()) IS NOT TRUE
   -- An origin that is gone is the class's trouble, which moves when somebody comes.
   OR (edge.parent <> class.origin_node
       AND (giver.lease_until > clock_timestamp() AND NOT giver.reaped AND NOT giver.draining
            AND giver.shunned_until < clock_timestamp()) IS NOT TRUE)
LIMIT $1

-- look_for_idle: Note which edges nobody uses, and since when; returns those that are idle for long.
WITH seen AS MATERIALIZED (
    SELECT class_id, node_id,
           EXISTS (SELECT FROM seat
                   WHERE seat.node_id = edge.node_id AND seat.class_id = edge.class_id
                     AND session_id IS NOT NULL AND grace_until IS NULL)
           OR EXISTS (SELECT FROM class_edge AS child
                      WHERE child.class_id = edge.class_id AND child.parent = edge.node_id) AS used
    FROM class_edge AS edge
), noted AS (
    UPDATE class_edge AS edge
    SET idle_since = CASE WHEN used THEN NULL ELSE clock_timestamp() END
    FROM seen
    WHERE edge.class_id = seen.class_id AND edge.node_id = seen.node_id
      AND (idle_since IS NOT NULL) = used
)
SELECT edge.class_id, edge.node_id FROM class_edge AS edge JOIN seen USING (class_id, node_id)
WHERE NOT used AND idle_since < clock_timestamp() - make_interval(secs => $1)
LIMIT $2

-- is_used: Ask it again of one edge whose class is locked.
SELECT EXISTS (SELECT FROM seat
               WHERE node_id = $2 AND class_id = $1
                 AND session_id IS NOT NULL AND grace_until IS NULL)
    OR EXISTS (SELECT FROM class_edge WHERE class_id = $1 AND parent = $2)
