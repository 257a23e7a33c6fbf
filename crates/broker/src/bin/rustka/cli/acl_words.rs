//! The words for what ACLs are about, and Kafka's numbers for them.

/// The number that stands for anything in filters.
pub const ANY: i8 = 1;
/// Patterns that a filter may have, beside those of ACLs themselves.
const MATCH: i8 = 2;
const LITERAL: i8 = 3;
const PREFIXED: i8 = 4;

/// What an ACL is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resource {
    /// The number of its kind.
    pub kind: i8,
    /// Its name, or the beginning of names.
    pub name: String,
    /// The number of how the name fits.
    pub pattern: i8,
}

const KINDS: &[(&str, i8)] = &[
    ("topic", 2),
    ("group", 3),
    ("cluster", 4),
    ("transactional-id", 5),
    ("delegation-token", 6),
    ("user", 7),
];

const OPERATIONS: &[(&str, i8)] = &[
    ("all", 2),
    ("read", 3),
    ("write", 4),
    ("create", 5),
    ("delete", 6),
    ("alter", 7),
    ("describe", 8),
    ("cluster-action", 9),
    ("describe-configs", 10),
    ("alter-configs", 11),
    ("idempotent-write", 12),
    ("create-tokens", 13),
    ("describe-tokens", 14),
    ("two-phase-commit", 15),
];

const PATTERNS: &[(&str, i8)] = &[
    ("any", ANY),
    ("match", MATCH),
    ("literal", LITERAL),
    ("prefixed", PREFIXED),
];

fn number(words: &[(&str, i8)], word: &str) -> Option<i8> {
    let bare = |word: &str| word.replace(['-', '_'], "").to_lowercase();
    let mut words = words.iter();
    let found = words.find(|(known, _)| bare(known) == bare(word));
    found.map(|(_, number)| *number)
}

fn word(words: &'static [(&'static str, i8)], number: i8) -> &'static str {
    let found = words.iter().find(|(_, known)| *known == number);
    found.map_or("unknown", |(word, _)| word)
}

/// The number of a kind of resource.
pub fn kind(word: &str) -> Option<i8> {
    number(KINDS, word)
}

/// The number of an operation, in whatever writing: `AlterConfigs`, `alter-configs`, `ALTER_CONFIGS`.
pub fn operation(word: &str) -> Option<i8> {
    number(OPERATIONS, word)
}

/// The words for all operations.
pub fn operations() -> impl Iterator<Item = &'static str> {
    OPERATIONS.iter().map(|(word, _)| *word)
}

/// The number of a pattern.
pub fn pattern(word: &str) -> Option<i8> {
    number(PATTERNS, word)
}

/// The word for a kind.
pub fn kind_word(number: i8) -> &'static str {
    word(KINDS, number)
}

/// The word for an operation.
pub fn operation_word(number: i8) -> &'static str {
    word(OPERATIONS, number)
}

/// The word for a pattern.
pub fn pattern_word(number: i8) -> &'static str {
    word(PATTERNS, number)
}

/// Whether ACLs themselves can have this pattern.
pub fn is_concrete(pattern: i8) -> bool {
    matches!(pattern, LITERAL | PREFIXED)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustka_core::security::acl::{Operation, Pattern, ResourceType};

    #[test]
    fn words_are_known_in_every_writing_and_stand_for_kafkas_numbers() {
        for writing in ["AlterConfigs", "alter-configs", "ALTER_CONFIGS"] {
            assert_eq!(operation(writing), Some(Operation::AlterConfigs.code()));
        }
        assert_eq!(
            kind("TransactionalId"),
            Some(ResourceType::TransactionalId.code())
        );
        assert_eq!(pattern("prefixed"), Some(Pattern::Prefixed.code()));
        assert_eq!(operation("frob"), None);
        for (word, number) in OPERATIONS {
            assert!(*word == "all" || Operation::from_code(*number).is_some());
        }
        for (_, number) in KINDS {
            assert!(ResourceType::from_code(*number).is_some());
        }
    }
}
