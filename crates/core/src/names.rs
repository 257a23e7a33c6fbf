//! Which topic names are allowed, which collide, and which belong to the broker itself.

use rustka_wire::codec::Uuid;

use crate::error::{ErrorCode, Refusal};

/// The longest topic name, in bytes: directories named `<topic>-<partition>` must fit a file system.
pub const TOPIC_NAME_BYTES_MAX: usize = 249;

/// Where consumer groups keep their offsets and metadata.
pub const CONSUMER_OFFSETS: &str = "__consumer_offsets";
/// Where the transaction coordinator keeps its state.
pub const TRANSACTION_STATE: &str = "__transaction_state";
/// Where the share coordinator keeps its state.
pub const SHARE_GROUP_STATE: &str = "__share_group_state";
/// The log of the cluster's own metadata; never a topic that a client may create.
pub const CLUSTER_METADATA: &str = "__cluster_metadata";

/// Whether this topic is written by coordinators only.
pub fn is_internal(name: &str) -> bool {
    matches!(
        name,
        CONSUMER_OFFSETS | TRANSACTION_STATE | SHARE_GROUP_STATE
    )
}

/// Whether Kafka keeps this topic id for itself: zero (none), one (the metadata log), and those that begin with '-' in
/// their text form, which would look like an option on a command line.
pub fn is_reserved_id(id: Uuid) -> bool {
    let is_small = id.0[..15].iter().all(|byte| *byte == 0) && id.0[15] <= 1;
    is_small || id.0[0] >> 2 == 62
}

/// Refuses a name that Kafka would refuse (INVALID_TOPIC_EXCEPTION).
pub fn validate_topic_name(name: &str) -> Result<(), Refusal> {
    let refuse = |why: String| Err(Refusal::new(ErrorCode::InvalidTopicException, why));
    if name.is_empty() {
        return refuse("A topic name must not be empty.".to_owned());
    }
    if name == "." || name == ".." {
        return refuse(format!("'{name}' is not allowed as a topic name."));
    }
    if name.len() > TOPIC_NAME_BYTES_MAX {
        return refuse(format!(
            "A topic name has at most {TOPIC_NAME_BYTES_MAX} characters, this one has {}.",
            name.chars().count()
        ));
    }
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    if !name.bytes().all(allowed) {
        return refuse(format!(
            "Topic name '{}' contains a character other than a-z, A-Z, 0-9, '.', '_' and '-'.",
            name.escape_debug()
        ));
    }
    Ok(())
}

/// Whether names with this one's pattern may collide in metric names, which turn `.` into `_`.
pub fn has_collision_characters(name: &str) -> bool {
    name.contains(['.', '_'])
}

/// The form under which colliding names are equal.
pub fn collision_form(name: &str) -> String {
    name.replace('.', "_")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Attacks, row 28.
    #[test]
    fn names_follow_kafkas_rules() {
        for good in ["a", "A.b_c-9", "__x", "...", &"x".repeat(249)] {
            assert_eq!(validate_topic_name(good), Ok(()), "{good}");
        }
        for bad in ["", ".", "..", "a b", "ä", "a/b", "a\n", &"x".repeat(250)] {
            let refusal = validate_topic_name(bad).unwrap_err();
            assert_eq!(refusal.code, ErrorCode::InvalidTopicException, "{bad}");
        }
    }

    #[test]
    fn dots_and_underscores_collide() {
        assert_eq!(collision_form("a.b_c"), collision_form("a_b.c"));
        assert!(!has_collision_characters("ab-c"));
    }
}
