-- How well a node's media works, beside how busy it is.
-- depends: 0004-fences

-- Somebody asked the node's media for an answer and got none: until then it gets no class, and the
-- classes that it has may be placed anew. Renewed for as long as it does not answer.
ALTER TABLE node ADD COLUMN shunned_until timestamptz NOT NULL DEFAULT '-infinity';
-- Of the media thread, as `loop_lag_ms` is of Python's loop.
ALTER TABLE node ADD COLUMN native_lag_ms real NOT NULL DEFAULT 0;
