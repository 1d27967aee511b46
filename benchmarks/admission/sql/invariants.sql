-- seats: Find what must never be: seats, classes and open segments that contradict each other.
SELECT 'used is not the number of seats' AS what, class_id AS id FROM class
WHERE used <> (SELECT count(*) FROM seat WHERE seat.class_id = class.class_id AND NOT is_host)
UNION ALL
SELECT 'more seats than the capacity', class_id FROM class
WHERE capacity < (SELECT count(*) FROM seat WHERE seat.class_id = class.class_id AND NOT is_host)
UNION ALL
SELECT 'two seats of one person', user_id FROM seat GROUP BY user_id HAVING count(*) > 1
UNION ALL
SELECT 'a class is live and has no host, or the other way round', class_id FROM class
WHERE (state = 'live')
   <> (1 = (SELECT count(*) FROM seat WHERE seat.class_id = class.class_id AND is_host))
UNION ALL
SELECT 'a teacher sits in the own class, or a stranger hosts it', user_id
FROM seat JOIN class USING (class_id) WHERE is_host <> (user_id = teacher_id)
UNION ALL
SELECT 'a seat in a class that is not live', user_id
FROM seat JOIN class USING (class_id) WHERE state <> 'live'
UNION ALL
SELECT 'an open segment without its seat', a.session_id FROM attendance AS a
WHERE left_at IS NULL AND NOT EXISTS (
    SELECT FROM seat
    WHERE seat.session_id = a.session_id AND seat.user_id = a.user_id
      AND seat.class_id = a.class_id AND seat.fence = a.fence AND grace_until IS NULL)
UNION ALL
SELECT 'a seat without an open segment', session_id FROM seat
WHERE NOT is_host AND grace_until IS NULL AND NOT EXISTS (
    SELECT FROM attendance AS a WHERE a.session_id = seat.session_id AND left_at IS NULL)

-- segments: Find what must never be in the whole of attendance, which takes a while where it is long.
SELECT 'segments of one person overlap' AS what, session_id AS id FROM (
    SELECT session_id, joined_at,
           max(coalesce(left_at, 'infinity')) OVER (
               PARTITION BY user_id ORDER BY joined_at, coalesce(left_at, 'infinity'), session_id
               ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS before
    FROM attendance) AS segment
WHERE joined_at < before
UNION ALL
SELECT 'a segment ends after its class, or is open in one that is over', session_id
FROM attendance JOIN class USING (class_id)
WHERE state = 'ended' AND (left_at IS NULL OR left_at > ended_at)
UNION ALL
SELECT 'a segment ends in the future', session_id FROM attendance
WHERE left_at > clock_timestamp()
UNION ALL
SELECT 'attendees is not the number of people who were there', class_id FROM class
WHERE attendees <> (SELECT count(*) FROM class_attendee AS a WHERE a.class_id = class.class_id)
UNION ALL
SELECT 'somebody was there and does not count', session_id FROM attendance AS a
WHERE connected_at IS NOT NULL AND NOT EXISTS (
    SELECT FROM class_attendee AS met WHERE met.class_id = a.class_id AND met.user_id = a.user_id)

-- admitted: Find acknowledged joins whose row is missing, another's, or older than was said.
SELECT 'an acknowledged join without its row' AS what, told.session_id AS id
FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::bigint[])
    AS told (session_id, user_id, class_id, fence)
WHERE NOT EXISTS (
    SELECT FROM attendance AS a
    WHERE a.session_id = told.session_id AND a.user_id = told.user_id
      AND a.class_id = told.class_id AND a.fence >= told.fence)

-- left: Find acknowledged leaves whose segment is still open.
SELECT 'an acknowledged leave with an open segment' AS what, session_id AS id
FROM attendance WHERE session_id = ANY($1::uuid[]) AND left_at IS NULL
