-- nodes: List nodes that live or whose end is not settled, with how they are, the fullest first.
SELECT node_id, addresses::text AS addresses, version, registered_at, alive_at, sessions, classes,
       egress_bps, cpu, loop_lag_ms, native_lag_ms,
       CASE WHEN reaped OR lease_until < clock_timestamp() THEN 'dead'
            WHEN shunned_until > clock_timestamp() THEN 'unreachable'
            WHEN draining THEN 'draining' ELSE 'serving' END AS state,
       extract(epoch FROM clock_timestamp() - alive_at)::float8 AS silent_s
FROM node WHERE NOT settled
ORDER BY sessions DESC, node_id
LIMIT $1

-- fullest: Show the live classes with most people present, and the sums over all of them in every row.
--
-- Over the seats, since every live class has its host's, and no index holds how full a class is: it would
-- be written with each join.
WITH counted AS MATERIALIZED (
    SELECT class_id, count(*) FILTER (
        WHERE NOT is_host AND confirm_by IS NULL AND grace_until IS NULL) AS present
    FROM seat GROUP BY class_id
), sums AS (
    SELECT count(*) AS classes, coalesce(sum(present), 0)::bigint AS present FROM counted
), fullest AS (
    SELECT class_id, present FROM counted ORDER BY present DESC, class_id DESC LIMIT $1
)
SELECT class_id, title, account.name AS teacher_name, origin_node, capacity, fullest.present,
       started_at, extract(epoch FROM clock_timestamp() - started_at)::float8 AS duration_s,
       sums.classes AS all_classes, sums.present AS all_present
FROM sums LEFT JOIN fullest ON true LEFT JOIN class USING (class_id)
LEFT JOIN account ON account_id = teacher_id
ORDER BY fullest.present DESC, class_id DESC

-- by_id: Show one live class.
SELECT class_id, title, account.name AS teacher_name, origin_node, capacity, started_at,
       extract(epoch FROM clock_timestamp() - started_at)::float8 AS duration_s,
       (SELECT count(*) FROM seat WHERE seat.class_id = class.class_id
           AND NOT is_host AND confirm_by IS NULL AND grace_until IS NULL) AS present
FROM class JOIN account ON account_id = teacher_id
WHERE class_id = $1 AND state = 'live'

-- by_title: Find classes among the $2 newest live ones whose titles hold a text, newest first.
SELECT class_id, title, account.name AS teacher_name, origin_node, capacity, started_at,
       extract(epoch FROM clock_timestamp() - started_at)::float8 AS duration_s,
       (SELECT count(*) FROM seat WHERE seat.class_id = class.class_id
           AND NOT is_host AND confirm_by IS NULL AND grace_until IS NULL) AS present
FROM (SELECT class_id FROM seat WHERE is_host ORDER BY class_id DESC LIMIT $2) AS newest
JOIN class USING (class_id) JOIN account ON account_id = teacher_id
WHERE state = 'live' AND strpos(lower(title), lower($1)) > 0
ORDER BY class_id DESC LIMIT $3

-- live: Count live classes, as far as a bound.
SELECT count(*) FROM (SELECT FROM seat WHERE is_host LIMIT $1) AS live
