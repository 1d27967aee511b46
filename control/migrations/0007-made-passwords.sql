-- A password that an operator had made ends by itself, so that it becomes nobody's for good.
-- depends: 0006-webhooks

-- NULL: chosen by its owner, without an end.
ALTER TABLE identity ADD COLUMN password_until timestamptz;
