-- of_class: List who attended a class with their segments, by pages of people in the order of ids.
--
-- LATERAL with OFFSET 0 and scalar subqueries hold the plan to one index probe per person of the
-- page: a plan that knows no limit would read whole tables instead.
SELECT page.user_id, (SELECT name FROM account WHERE account_id = page.user_id) AS name,
       segment.joined_at, segment.left_at, segment.reason, segment.estimated,
       class.class_id, class.started_at, class.ended_at, clock_timestamp() AS now
FROM (
    SELECT class_id, user_id FROM class_attendee
    WHERE class_id = $1
      AND user_id > coalesce($2::uuid, '00000000-0000-0000-0000-000000000000')
    ORDER BY user_id LIMIT $3) AS page
JOIN class ON class.class_id = $1
CROSS JOIN LATERAL (
    SELECT session_id, joined_at, left_at, reason, estimated FROM attendance
    WHERE attendance.class_id = $1 AND attendance.user_id = page.user_id
      AND connected_at IS NOT NULL
    OFFSET 0) AS segment
ORDER BY page.user_id, segment.joined_at, segment.session_id

-- of_user: List what a person attended with their segments, by pages of classes, newest first.
SELECT page.class_id, class.title, class.attendees,
       (SELECT name FROM account WHERE account_id = class.teacher_id) AS teacher_name,
       segment.joined_at, segment.left_at, segment.reason, segment.estimated,
       class.started_at, class.ended_at, clock_timestamp() AS now
FROM (
    SELECT class_id FROM class_attendee
    WHERE user_id = $1
      AND class_id < coalesce($2::uuid, 'ffffffff-ffff-ffff-ffff-ffffffffffff')
    ORDER BY class_id DESC LIMIT $3) AS page
CROSS JOIN LATERAL (SELECT * FROM class WHERE class.class_id = page.class_id OFFSET 0) AS class
CROSS JOIN LATERAL (
    SELECT session_id, joined_at, left_at, reason, estimated FROM attendance
    WHERE attendance.class_id = page.class_id AND attendance.user_id = $1
      AND connected_at IS NOT NULL
    OFFSET 0) AS segment
ORDER BY page.class_id DESC, segment.joined_at, segment.session_id
