-- classes: Tell the links of classes as they are now.
SELECT class_id, link FROM class WHERE class_id = ANY($1::uuid[])

-- age: Let a share of the waiting seats be past their time, as an hour would.
UPDATE seat
SET grace_until = grace_until - interval '1 h', confirm_by = confirm_by - interval '1 h'
WHERE user_id IN (
    SELECT user_id FROM seat
    WHERE NOT is_host AND coalesce(grace_until, confirm_by) IS NOT NULL AND random() < $1
    ORDER BY user_id FOR UPDATE SKIP LOCKED)
