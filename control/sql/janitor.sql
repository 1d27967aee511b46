-- lock: Be the one janitor for as long as this connection lives.
SELECT pg_try_advisory_lock($1)
