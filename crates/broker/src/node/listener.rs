//! A place where clients come in: its name, and what its clients are told about this node.

/// One listener, and the node that clients see through it.
pub struct Listener {
    /// As in `listeners`.
    pub name: Box<str>,
    /// The id of the node that its clients meet.
    pub node_id: i32,
    /// Where they are told to reach it.
    pub endpoint: (String, u16),
}
