-- lock: Be the one janitor for as long as this connection lives.
SELECT pg_try_advisory_lock($1)

-- read_whole_tables: Let this transaction plan sweeps that read a table from end to end.
--
-- An index on `confirm_by` and `grace_until` would find the overdue at once, but no update of a seat could
-- be made in place any more. Of a million seats the sweep reads 110 ms this way, 1.3 s along an index.
SELECT set_config('enable_seqscan', 'on', true)
