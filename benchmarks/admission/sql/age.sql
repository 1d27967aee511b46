-- start_classes: Let the classes of a load have begun a day ago, so that they can end.
UPDATE class SET state = 'live', started_at = clock_timestamp() - interval '1 d',
       attendees = (SELECT count(*) FROM class_attendee AS a WHERE a.class_id = class.class_id)
WHERE class_id = ANY($1::uuid[])

-- end_classes: Let the classes of a load be over, an hour after they began.
UPDATE class SET state = 'ended', used = 0, ended_at = started_at + interval '1 h'
WHERE class_id = ANY($1::uuid[])

-- segments: Add segments $1 up to $2, $5 to a class, of people who are spread over all of them.
INSERT INTO attendance (session_id, user_id, class_id, fence, joined_at, connected_at, left_at, reason)
SELECT (lpad(to_hex(1600000000000 + n), 12, '0') || '7' || substr(md5('s' || n), 1, 3)
        || '8' || substr(md5('s' || n), 4, 15))::uuid,
       people.ids[1 + (n * 7919) % cardinality(people.ids)],
       classes.ids[1 + (n - $1) / $5::bigint],
       1, at, at, at + interval '50 min', 'left'
FROM (SELECT $3::uuid[] AS ids) AS people, (SELECT $4::uuid[] AS ids) AS classes,
     (SELECT clock_timestamp() - interval '1 d' AS at) AS moment,
     generate_series($1::bigint, $2::bigint - 1) AS n

-- met: Add everybody to the attendees of the classes whose segments they have.
INSERT INTO class_attendee (class_id, user_id, first_connected_at)
SELECT class_id, user_id, min(connected_at) FROM attendance
WHERE class_id = ANY($1::uuid[]) GROUP BY class_id, user_id

-- size: Tell size and dead rows of a table, and how many of its updates were in place.
SELECT n_live_tup, n_dead_tup, n_tup_ins, n_tup_upd, n_tup_hot_upd, n_tup_del, autovacuum_count,
       pg_table_size(relid) AS table_bytes, pg_indexes_size(relid) AS index_bytes
FROM pg_stat_user_tables WHERE relname = $1
