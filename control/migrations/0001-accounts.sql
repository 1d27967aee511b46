-- Accounts and how people prove who they are.
-- depends:

CREATE TABLE account (
    account_id uuid PRIMARY KEY,
    name text NOT NULL,
    role text NOT NULL,
    is_operator boolean NOT NULL DEFAULT false,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    -- An operator locked the account: it keeps its data and cannot sign in.
    disabled_at timestamptz,
    -- Deleted accounts stay as a row without a person, because attendance points at them.
    deleted_at timestamptz,
    -- The only two roles of the contract; a person may change between them.
    CONSTRAINT account_role_known CHECK (role IN ('teacher', 'student')),
    -- What the API's validation allows, held here too, so that no other way in can break pages.
    CONSTRAINT account_name_fits CHECK (char_length(name) BETWEEN 1 AND 100)
);

CREATE TABLE identity (
    issuer text NOT NULL,
    -- For the issuer 'password' the e-mail address in the one form that is compared.
    subject text NOT NULL,
    account_id uuid NOT NULL REFERENCES account,
    email text NOT NULL,
    password_hash text,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    -- One proof leads to one account, however many sign-ups race.
    PRIMARY KEY (issuer, subject),
    -- A password identity without its hash could be signed in to by nobody, or by everybody.
    CONSTRAINT identity_password_has_hash CHECK ((issuer = 'password') = (password_hash IS NOT NULL))
);
CREATE INDEX identity_by_account ON identity (account_id);

CREATE TABLE session_token (
    token_sha256 bytea PRIMARY KEY,
    account_id uuid NOT NULL REFERENCES account ON DELETE CASCADE,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    -- Written at most hourly: a read must not cost a write.
    used_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    expires_at timestamptz NOT NULL,
    -- Anything of another length is not a hash and must never be compared as one.
    CONSTRAINT session_token_is_sha256 CHECK (octet_length(token_sha256) = 32)
);
CREATE INDEX session_token_by_account ON session_token (account_id);

CREATE TABLE api_token (
    token_sha256 bytea PRIMARY KEY,
    token_id uuid NOT NULL UNIQUE,
    account_id uuid NOT NULL REFERENCES account ON DELETE CASCADE,
    name text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    used_at timestamptz,
    CONSTRAINT api_token_is_sha256 CHECK (octet_length(token_sha256) = 32),
    CONSTRAINT api_token_name_fits CHECK (char_length(name) BETWEEN 1 AND 100)
);
CREATE INDEX api_token_by_account ON api_token (account_id, token_id);
