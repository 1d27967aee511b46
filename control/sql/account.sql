-- create: Add a person; the identity comes in the same transaction.
INSERT INTO account (account_id, name, role, is_operator) VALUES ($1, $2, $3, $4)

-- add_identity: Tie a way of proving oneself to an account; no row where it is taken.
INSERT INTO identity (issuer, subject, account_id, email, password_hash)
VALUES ($1, $2, $3, $4, $5)
ON CONFLICT DO NOTHING
RETURNING account_id

-- by_identity: Find who may sign in as this subject, and the hash to check.
SELECT account.account_id, name, role, is_operator, identity.email, password_hash
FROM identity JOIN account USING (account_id)
WHERE issuer = $1 AND subject = $2 AND disabled_at IS NULL AND deleted_at IS NULL
  AND (password_until IS NULL OR password_until > clock_timestamp())

-- rehash: Replace a hash that was made with older parameters, unless it was changed meanwhile.
UPDATE identity SET password_hash = $3
WHERE issuer = 'password' AND subject = $1 AND password_hash = $2

-- add_session: Sign a new account in: keep the hash of its token.
INSERT INTO session_token (token_sha256, token_id, account_id, client, expires_at)
VALUES ($1, $2, $3, $4, clock_timestamp() + make_interval(secs => $5))

-- sign_in: Keep the hash of a session's token, unless the password changed since it was verified.
--
-- The lock makes this and a change of password one after the other, so that a session by the old
-- password is never made after the change has signed out everywhere.
INSERT INTO session_token (token_sha256, token_id, account_id, client, expires_at)
SELECT $1, $2, account_id, $3, clock_timestamp() + make_interval(secs => $4)
FROM identity WHERE issuer = 'password' AND subject = $5 AND password_hash = $6
FOR SHARE
RETURNING account_id

-- trim_sessions: Sign out where an account was not used for longest, beyond a number of sessions.
DELETE FROM session_token WHERE token_sha256 IN (
    SELECT token_sha256 FROM session_token WHERE account_id = $1
    ORDER BY used_at DESC, token_id DESC OFFSET $2)

-- sessions: List where an account is signed in, by pages.
SELECT token_id, client, created_at, used_at, expires_at, token_sha256 = $4 AS is_current
FROM session_token
WHERE account_id = $1 AND token_id < coalesce($2::uuid, 'ffffffff-ffff-ffff-ffff-ffffffffffff')
  AND expires_at > clock_timestamp()
  AND used_at > clock_timestamp() - make_interval(secs => $5)
ORDER BY token_id DESC LIMIT $3

-- revoke_session: Sign an account out in one place.
DELETE FROM session_token WHERE account_id = $1 AND token_id = $2 RETURNING token_id

-- remove_session: Sign out.
DELETE FROM session_token WHERE token_sha256 = $1

-- remove_sessions: Sign an account out everywhere but where it is now.
DELETE FROM session_token WHERE account_id = $1 AND token_sha256 IS DISTINCT FROM $2

-- by_session: Find who holds a session token that is neither too old nor too long unused.
SELECT account_id, name, role, is_operator,
       used_at < clock_timestamp() - make_interval(secs => $3) AS use_is_due
FROM session_token JOIN account USING (account_id)
WHERE token_sha256 = $1 AND disabled_at IS NULL AND deleted_at IS NULL
  AND expires_at > clock_timestamp()
  AND used_at > clock_timestamp() - make_interval(secs => $2)

-- touch_session: Write down the use of a session token.
UPDATE session_token SET used_at = clock_timestamp() WHERE token_sha256 = $1

-- by_api_token: Find who holds an API token.
SELECT account_id, account.name, role, is_operator,
       used_at IS NULL OR used_at < clock_timestamp() - make_interval(secs => $2) AS use_is_due
FROM api_token JOIN account USING (account_id)
WHERE token_sha256 = $1 AND disabled_at IS NULL AND deleted_at IS NULL

-- touch_api_token: Write down the use of an API token.
UPDATE api_token SET used_at = clock_timestamp() WHERE token_sha256 = $1

-- add_api_token: Keep the hash of a new API token, unless the account has too many.
INSERT INTO api_token (token_sha256, token_id, account_id, name)
SELECT $1, $2, $3, $4
WHERE (SELECT count(*) FROM api_token WHERE account_id = $3) < $5
RETURNING created_at

-- api_tokens: List an account's API tokens, newest first, by pages.
SELECT token_id, name, created_at, used_at FROM api_token
WHERE account_id = $1 AND token_id < coalesce($2::uuid, 'ffffffff-ffff-ffff-ffff-ffffffffffff')
ORDER BY token_id DESC LIMIT $3

-- remove_api_token: Revoke one API token of an account.
DELETE FROM api_token WHERE account_id = $1 AND token_id = $2 RETURNING token_id

-- remove_api_tokens: Revoke every API token of an account.
DELETE FROM api_token WHERE account_id = $1

-- me: Show a person to themselves, with the class they sit in.
SELECT account.account_id, name, role, is_operator, account.created_at, identity.email,
       seat.class_id, seat.is_host, class.title, class.state
FROM account
LEFT JOIN identity USING (account_id)
LEFT JOIN seat ON seat.user_id = account.account_id
LEFT JOIN class ON class.class_id = seat.class_id
WHERE account.account_id = $1
ORDER BY identity.created_at
LIMIT 1

-- lock: Lock an account against seats being taken, which lock it FOR KEY SHARE.
SELECT account_id, role FROM account
WHERE account_id = $1 AND deleted_at IS NULL FOR UPDATE

-- seated: Tell whether the account holds a seat, grace included.
SELECT class_id FROM seat WHERE user_id = $1

-- by_email: Find an account by its address, for operators.
SELECT account_id FROM identity WHERE issuer = $1 AND subject = $2

-- users: List accounts for operators, oldest first, by pages; deleted ones are left out.
SELECT account.account_id, identity.email, name, role, is_operator, account.created_at,
       disabled_at IS NOT NULL AS is_disabled
FROM account LEFT JOIN identity ON identity.account_id = account.account_id AND issuer = 'password'
WHERE account.account_id > coalesce($1::uuid, '00000000-0000-0000-0000-000000000000')
  AND deleted_at IS NULL
ORDER BY account.account_id LIMIT $2

-- set_disabled: Lock an account out, or let it in again.
UPDATE account SET disabled_at = CASE WHEN $2 THEN coalesce(disabled_at, clock_timestamp()) END
WHERE account_id = $1

-- set_operator: Make a person an operator of this deployment, or no operator any more.
UPDATE account SET is_operator = $2 WHERE account_id = $1 AND deleted_at IS NULL

-- change: Change name and role; NULL leaves one as it is.
UPDATE account SET name = coalesce($2, name), role = coalesce($3, role) WHERE account_id = $1

-- password: Show the hash of an account's password, and the words that a password must not be made of.
SELECT password_hash, identity.email, account.name
FROM identity JOIN account USING (account_id)
WHERE account_id = $1 AND issuer = 'password'

-- replace_password: Set the hash of a password, unless it was changed since $2 was read.
UPDATE identity SET password_hash = $3, password_until = NULL
WHERE account_id = $1 AND issuer = 'password' AND password_hash = $2
RETURNING account_id

-- change_password: Set the hash of a password that is good for some seconds only.
UPDATE identity SET password_hash = $2, password_until = clock_timestamp() + make_interval(secs => $3)
WHERE account_id = $1 AND issuer = 'password'

-- forget: Take the person out of an account; attendance keeps pointing at the row.
UPDATE account
SET name = 'Deleted user', deleted_at = clock_timestamp(), is_operator = false
WHERE account_id = $1

-- remove_identities: Let nobody sign in as this account again; the address is free.
DELETE FROM identity WHERE account_id = $1

-- prune_sessions: Delete session tokens that can never be used again, a bounded number at a time.
DELETE FROM session_token WHERE token_sha256 IN (
    SELECT token_sha256 FROM session_token
    WHERE expires_at < clock_timestamp()
       OR used_at < clock_timestamp() - make_interval(secs => $1)
    LIMIT $2)
