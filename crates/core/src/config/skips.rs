//! `rustka.damaged.skip`: offsets of a topic that cannot be read any more and that readers are to pass over.

use std::fmt;
use std::ops::Range;

/// The key.
pub const DAMAGED_SKIP: &str = "rustka.damaged.skip";

/// Offsets of one partition, as an item of the list names them: `2:100-120`, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Skip {
    /// The partition's number.
    pub partition: i32,
    /// The first offset.
    pub first: i64,
    /// The last offset.
    pub last: i64,
}

impl Skip {
    /// Of these offsets, of which there is one at least.
    pub fn of(partition: i32, offsets: &Range<i64>) -> Skip {
        Skip {
            partition,
            first: offsets.start,
            last: offsets.end.saturating_sub(1),
        }
    }

    /// What an item of the list says; nothing if it is none.
    pub fn parse(item: &str) -> Option<Skip> {
        let (partition, offsets) = item.split_once(':')?;
        let (first, last) = offsets.split_once('-')?;
        let skip = Skip {
            partition: partition.parse().ok()?,
            first: first.parse().ok()?,
            last: last.parse().ok()?,
        };
        let is_one = skip.partition >= 0 && (0..=skip.last).contains(&skip.first);
        is_one.then_some(skip)
    }

    /// Whether all of these offsets are meant.
    pub fn covers(&self, partition: i32, offsets: &Range<i64>) -> bool {
        self.partition == partition
            && self.first <= offsets.start
            && offsets.end.saturating_sub(1) <= self.last
    }

    /// How many offsets these are.
    pub fn offsets(&self) -> u64 {
        self.last.abs_diff(self.first).saturating_add(1)
    }
}

impl fmt::Display for Skip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Skip {
            partition,
            first,
            last,
        } = self;
        write!(f, "{partition}:{first}-{last}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_item_says_what_was_written_and_nothing_else_is_one() {
        let skip = Skip::of(2, &(100..121));
        assert_eq!(skip.to_string(), "2:100-120");
        assert_eq!(Skip::parse("2:100-120"), Some(skip));
        assert_eq!(skip.offsets(), 21);
        assert!(skip.covers(2, &(100..121)) && skip.covers(2, &(110..111)));
        assert!(!skip.covers(1, &(100..121)) && !skip.covers(2, &(100..122)));
        assert!(!skip.covers(2, &(99..101)));
        for bad in [
            "", "*", "2", "2:1", "2:3-2", "-1:1-2", "2:-1-2", "x:1-2", "2:1-2-3",
        ] {
            assert_eq!(Skip::parse(bad), None, "{bad}");
        }
    }
}
