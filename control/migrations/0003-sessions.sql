-- Sessions can be listed and revoked one by one; deserted classes are found by an index.
-- depends: 0002-classes

-- The locks below are short once they are there. While they are waited for, everybody waits behind
-- them: rather give up and be tried again.
SET LOCAL lock_timeout = '2s';

-- The version before this one inserts neither column: both have defaults.
ALTER TABLE session_token
    -- What a session is called outside; its hash is nobody's business.
    ADD COLUMN token_id uuid NOT NULL DEFAULT gen_random_uuid(),
    -- "Firefox on Linux", so that people know their own sessions again; nothing finer is kept.
    ADD COLUMN client text NOT NULL DEFAULT ''
        CONSTRAINT session_token_client_fits CHECK (char_length(client) <= 100);
CREATE INDEX session_token_by_account_id ON session_token (account_id, token_id);
-- The new index begins with the same column.
DROP INDEX session_token_by_account;

-- The janitor asks every second for hosts who publish nothing: few of many seats.
CREATE INDEX seat_silent_host ON seat (silent_since) WHERE is_host AND session_id IS NULL;
