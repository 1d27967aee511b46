-- Classes, the nodes that carry them, seats and attendance.
-- depends: 0001-accounts

CREATE TABLE node (
    -- One per boot: a process that starts again is another node.
    node_id uuid PRIMARY KEY,
    -- Proves the node to us and us to the node.
    secret text NOT NULL,
    internal_url text NOT NULL,
    addresses jsonb NOT NULL,
    version text NOT NULL,
    registered_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    alive_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    lease_until timestamptz NOT NULL,
    draining boolean NOT NULL DEFAULT false,
    -- Once true never false again: what the node held was given to others.
    reaped boolean NOT NULL DEFAULT false,
    -- The reaper has closed everything the node held; it need not look again.
    settled boolean NOT NULL DEFAULT false,
    beat_sequence bigint NOT NULL DEFAULT 0,
    sessions integer NOT NULL DEFAULT 0,
    classes integer NOT NULL DEFAULT 0,
    egress_bps bigint NOT NULL DEFAULT 0,
    cpu real NOT NULL DEFAULT 0,
    loop_lag_ms real NOT NULL DEFAULT 0,
    -- A node whose seats were given away must have been declared dead first.
    CONSTRAINT node_settled_after_reaped CHECK (reaped OR NOT settled)
) WITH (fillfactor = 50);  -- every beat updates the row; none of its indexed columns change (HOT)

CREATE TABLE class (
    class_id uuid PRIMARY KEY,
    teacher_id uuid NOT NULL REFERENCES account,
    title text NOT NULL,
    capacity integer NOT NULL,
    -- Seats taken by students, those in grace included; changed only with the row locked.
    used integer NOT NULL DEFAULT 0,
    -- How many different people were ever connected; counts the rows of class_attendee.
    attendees integer NOT NULL DEFAULT 0,
    link text NOT NULL UNIQUE,
    link_version integer NOT NULL DEFAULT 1,
    state text NOT NULL DEFAULT 'created',
    origin_node uuid,
    -- Every change of origin_node adds one: who decides on an older epoch has lost the race.
    placement_epoch bigint NOT NULL DEFAULT 0,
    -- The Idempotency-Key it was created with, and what was asked then.
    creation_key text,
    creation_digest bytea,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    started_at timestamptz,
    ended_at timestamptz,
    CONSTRAINT class_title_fits CHECK (char_length(title) BETWEEN 1 AND 200),
    CONSTRAINT class_capacity_range CHECK (capacity BETWEEN 1 AND 1000000),
    -- Never over capacity, whatever the code above thinks.
    CONSTRAINT class_never_over_capacity CHECK (used BETWEEN 0 AND capacity),
    CONSTRAINT class_attendees_positive CHECK (attendees >= 0),
    CONSTRAINT class_state_known CHECK (state IN ('created', 'live', 'ended')),
    -- A class that is live has begun; one that is not ended has no end.
    CONSTRAINT class_started_when_live CHECK ((state = 'created') = (started_at IS NULL)),
    CONSTRAINT class_ended_when_over CHECK ((state = 'ended') = (ended_at IS NOT NULL)),
    CONSTRAINT class_ends_after_start CHECK (ended_at >= started_at),
    -- Nobody sits in a class that is not live.
    CONSTRAINT class_empty_unless_live CHECK (state = 'live' OR used = 0)
) WITH (fillfactor = 60);  -- joins update `used` in place; no index holds it (HOT)
CREATE INDEX class_by_teacher ON class (teacher_id, class_id DESC);
CREATE UNIQUE INDEX class_by_creation_key ON class (teacher_id, creation_key)
    WHERE creation_key IS NOT NULL;

CREATE TABLE class_attendee (
    class_id uuid NOT NULL REFERENCES class,
    user_id uuid NOT NULL REFERENCES account,
    first_connected_at timestamptz NOT NULL,
    -- A person counts once per class, however often they come back.
    PRIMARY KEY (class_id, user_id)
);
CREATE INDEX class_attendee_by_user ON class_attendee (user_id, class_id DESC);

CREATE TABLE seat (
    -- One live class per person: the rule of the product is this key.
    user_id uuid PRIMARY KEY REFERENCES account,
    class_id uuid NOT NULL REFERENCES class,
    -- NULL only for a host who is not publishing; in grace, the session that was lost.
    session_id uuid UNIQUE,
    -- The session that this one continued out of grace, so that a repeated resume finds it.
    continues uuid,
    is_host boolean NOT NULL,
    -- Counts the incarnations of this seat; every end and revocation names it.
    fence bigint NOT NULL,
    node_id uuid,
    -- Until then the node must have reported the session connected.
    confirm_by timestamptz,
    -- The last sign of life of the earlier incarnation; for a host, since when nothing is published.
    silent_since timestamptz,
    -- The session is gone, its place is kept until then.
    grace_until timestamptz,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT seat_student_has_session CHECK (is_host OR session_id IS NOT NULL),
    -- A host's seat lasts from start to end and is never in grace.
    CONSTRAINT seat_host_has_no_grace CHECK (NOT is_host OR grace_until IS NULL),
    -- A seat waits for its first packet or for its owner's return, never for both.
    CONSTRAINT seat_waits_for_one CHECK (confirm_by IS NULL OR grace_until IS NULL),
    CONSTRAINT seat_fence_positive CHECK (fence > 0)
) WITH (fillfactor = 70);  -- connect, silence and grace update in place; no index holds those (HOT)
-- One host per class; start and reopen race into this.
CREATE UNIQUE INDEX seat_one_host ON seat (class_id) WHERE is_host;
CREATE INDEX seat_by_class ON seat (class_id);
CREATE INDEX seat_by_node ON seat (node_id);

CREATE TABLE attendance (
    session_id uuid PRIMARY KEY,
    user_id uuid NOT NULL REFERENCES account,
    class_id uuid NOT NULL REFERENCES class,
    node_id uuid,
    -- Of the session's latest incarnation: an end that names an older one is not this segment's.
    fence bigint NOT NULL,
    joined_at timestamptz NOT NULL,
    connected_at timestamptz,
    left_at timestamptz,
    reason text,
    -- The end is our guess; the node's own word may still move it earlier.
    estimated boolean NOT NULL DEFAULT false,
    CONSTRAINT attendance_connects_after_join CHECK (connected_at >= joined_at),
    CONSTRAINT attendance_leaves_after_join CHECK (left_at >= joined_at),
    CONSTRAINT attendance_leaves_after_connecting CHECK (left_at >= connected_at),
    -- Every end has its reason, and only ends have one.
    CONSTRAINT attendance_end_has_reason CHECK ((left_at IS NULL) = (reason IS NULL)),
    CONSTRAINT attendance_reason_known CHECK (reason IN (
        'left', 'pagehide', 'disconnected', 'replaced', 'class_ended', 'node_lost',
        'never_connected', 'handshake_failed', 'node_drained')),
    CONSTRAINT attendance_estimates_an_end CHECK (NOT estimated OR left_at IS NOT NULL)
) WITH (fillfactor = 85);  -- a segment is updated two or three times in place (HOT)
CREATE INDEX attendance_by_class_user ON attendance (class_id, user_id);

-- What a node has to hear: a session revoked, or a class ended. Rows stay until the node's cursor
-- has passed them. Rows are ordered by the transaction that wrote them, because numbers from a
-- sequence can become visible out of order and a cursor would skip the late ones for good.
CREATE TABLE node_notice (
    node_id uuid NOT NULL,
    written_by bigint NOT NULL DEFAULT (pg_current_xact_id()::text::bigint),
    class_id uuid,
    session_id uuid,
    fence bigint,
    reason text,
    -- One row says one thing.
    CONSTRAINT node_notice_is_one_thing CHECK (
        (class_id IS NULL) <> (session_id IS NULL)
        AND (session_id IS NULL) = (fence IS NULL)
        AND (session_id IS NULL) = (reason IS NULL))
);
CREATE INDEX node_notice_by_node ON node_notice (node_id, written_by);
