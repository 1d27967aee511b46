-- Classes on more than one node: the edges of each class's tree.
-- depends: 0007-made-passwords

CREATE TABLE class_edge (
    class_id uuid NOT NULL REFERENCES class ON DELETE CASCADE,
    node_id uuid NOT NULL,
    -- Where the edge gets the class from: the class's origin_node, or another edge of the class.
    parent uuid NOT NULL,
    -- Links between the origin and this node.
    depth smallint NOT NULL,
    -- The class's, when the link was made.
    placement_epoch bigint NOT NULL,
    -- The link from the parent. A lost one is never told again: it gets a new id and key, and one more here.
    link_id uuid NOT NULL,
    link_version bigint NOT NULL DEFAULT 1,
    key bytea NOT NULL,
    made_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    -- Parent and child have both taken the link.
    told boolean NOT NULL DEFAULT false,
    -- Somebody is telling them; should that one die, another may from then on.
    tell_after timestamptz NOT NULL,
    -- Links in a row that did not last.
    losses integer NOT NULL DEFAULT 0,
    -- Since when nobody watches here and no edge hangs on it.
    idle_since timestamptz,
    -- A node carries a class once.
    PRIMARY KEY (class_id, node_id),
    -- The shortest loop; longer ones have no depth that fits.
    CONSTRAINT class_edge_is_not_its_parent CHECK (node_id <> parent),
    CONSTRAINT class_edge_depth_range CHECK (depth BETWEEN 1 AND 4),
    CONSTRAINT class_edge_key_length CHECK (octet_length(key) = 32),
    CONSTRAINT class_edge_losses_positive CHECK (losses >= 0)
);
CREATE INDEX class_edge_by_node ON class_edge (node_id);
