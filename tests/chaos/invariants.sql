-- What may never be seen, by name; no row is right.
SELECT 'overlap' AS what, a.session_id::text AS id FROM attendance AS a
JOIN attendance AS b ON a.user_id = b.user_id AND a.session_id <> b.session_id
 AND a.joined_at < coalesce(b.left_at, 'infinity') AND b.joined_at < coalesce(a.left_at, 'infinity')
 AND a.joined_at <= b.joined_at
UNION ALL
SELECT 'open segment without a live seat', session_id::text FROM attendance AS a
WHERE left_at IS NULL AND NOT EXISTS (
    SELECT FROM seat WHERE seat.session_id = a.session_id AND seat.user_id = a.user_id
    AND seat.class_id = a.class_id AND seat.fence = a.fence AND grace_until IS NULL)
UNION ALL
SELECT 'live seat without an open segment', user_id::text FROM seat
WHERE NOT is_host AND grace_until IS NULL AND NOT EXISTS (
    SELECT FROM attendance AS a WHERE a.session_id = seat.session_id AND left_at IS NULL)
UNION ALL
SELECT 'used is not the seats', class_id::text FROM class
WHERE used <> (SELECT count(*) FROM seat WHERE seat.class_id = class.class_id AND NOT is_host)
UNION ALL
SELECT 'over capacity', class_id::text FROM class WHERE used > capacity
UNION ALL
SELECT 'segment ends after its class', session_id::text FROM attendance JOIN class USING (class_id)
WHERE left_at > ended_at
UNION ALL
SELECT 'segment ends after now', session_id::text FROM attendance WHERE left_at > clock_timestamp()
UNION ALL
SELECT 'attendees is not who connected', class_id::text FROM class
WHERE attendees <> (SELECT count(DISTINCT user_id) FROM attendance AS a
                    WHERE a.class_id = class.class_id AND connected_at IS NOT NULL)
