-- Fences that never repeat, and ends of classes that say which sessions they are meant for.
-- depends: 0003-sessions

-- A seat that is freed and taken again must not begin at a fence that was given before: a node that
-- is asked late to open an old session must be able to tell it from the newer one. It starts beyond
-- every fence of the version before, which counted from 1 in each seat.
CREATE SEQUENCE seat_fence START WITH 1000000;

-- Of a class that ended: its placement_epoch then. Sessions that were admitted after it was reopened
-- have a higher one and go on. NULL from the version before: every session of the class.
ALTER TABLE node_notice ADD COLUMN epoch bigint;
