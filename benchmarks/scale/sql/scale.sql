-- tables: Tell how many rows each table has and what it takes, the largest first.
SELECT relname, n_live_tup, n_dead_tup, n_tup_upd, n_tup_hot_upd,
       pg_table_size(relid) AS table_bytes, pg_indexes_size(relid) AS index_bytes
FROM pg_stat_user_tables
WHERE pg_total_relation_size(relid) > 1000000
ORDER BY pg_total_relation_size(relid) DESC

-- truth: Count what must be whole when every class has ended.
SELECT (SELECT count(*) FROM class WHERE state = 'ended') AS classes_ended,
       (SELECT count(*) FROM class WHERE used <> 0) AS classes_with_seats,
       (SELECT coalesce(sum(attendees), 0) FROM class)::bigint AS attendees,
       (SELECT count(*) FROM seat) AS seats,
       (SELECT count(*) FROM attendance WHERE connected_at IS NOT NULL AND left_at IS NOT NULL) AS attended,
       (SELECT count(*) FROM attendance) AS segments,
       (SELECT count(*) FROM node WHERE reaped) AS nodes_reaped
