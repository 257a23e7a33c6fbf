//! DescribeTopicPartitions: topics in the order of their names, a page of partitions at a time.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;

use super::{Catalog, Topic};
use crate::error::{ErrorCode, Refusal};
use crate::names;

/// Where a page starts, or the next one does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageCursor {
    /// The topic.
    pub topic: Box<str>,
    /// Its first partition on the page.
    pub partition: i32,
}

/// One topic on a page.
#[derive(Clone, Debug)]
pub enum PagedTopic<P, C> {
    /// A topic, and which of its partitions are on this page.
    Found {
        /// The topic.
        topic: Arc<Topic<P, C>>,
        /// The partitions.
        partitions: Range<usize>,
    },
    /// A topic that was asked for by name and is not there.
    Missing {
        /// The name.
        name: Box<str>,
        /// Why: unknown, or no name at all.
        code: ErrorCode,
    },
}

/// A page.
#[derive(Clone, Debug)]
pub struct DescribePage<P, C> {
    /// Its topics.
    pub topics: Vec<PagedTopic<P, C>>,
    /// Where the next page starts, if there is one.
    pub next: Option<PageCursor>,
}

/// The page from `cursor` on, with at most `limit` partitions (at least one).
///
/// `names` empty means all topics. `visible` says which topics the caller may know of.
pub fn describe_page<P, C>(
    catalog: &Catalog<P, C>,
    names: &[&str],
    cursor: Option<&PageCursor>,
    limit: usize,
    mut visible: impl FnMut(&str) -> bool,
) -> Result<DescribePage<P, C>, Refusal> {
    let from = cursor.map_or("", |cursor| &*cursor.topic);
    let refuse = |why: String| Err(Refusal::new(ErrorCode::InvalidRequest, why));
    if let Some(cursor) = cursor {
        if !names.is_empty() && !names.contains(&from) {
            return refuse("The cursor's topic is not among the topics asked for.".to_owned());
        }
        if cursor.partition < 0 {
            return refuse(format!(
                "Cursor partition {} is negative.",
                cursor.partition
            ));
        }
    }
    let first_of = |name: &str| match cursor {
        Some(cursor) if &*cursor.topic == name => usize::try_from(cursor.partition).unwrap_or(0),
        _ => 0,
    };
    let mut page = Page {
        topics: Vec::new(),
        left: limit.max(1),
        next: None,
    };
    if names.is_empty() {
        for topic in catalog
            .topics_from(from)
            .filter(|topic| visible(&topic.name))
        {
            if !page.add(topic, first_of(&topic.name)) {
                break;
            }
        }
    } else {
        let wanted: BTreeSet<&str> = names.iter().copied().filter(|name| *name >= from).collect();
        for name in wanted.into_iter().filter(|name| visible(name)) {
            let goes_on = match catalog.by_name(name) {
                Some(topic) => page.add(topic, first_of(name)),
                None => page.add_missing(name),
            };
            if !goes_on {
                break;
            }
        }
    }
    Ok(DescribePage {
        topics: page.topics,
        next: page.next,
    })
}

struct Page<P, C> {
    topics: Vec<PagedTopic<P, C>>,
    left: usize,
    next: Option<PageCursor>,
}

impl<P, C> Page<P, C> {
    /// Whether the page goes on after this topic.
    fn add(&mut self, topic: &Arc<Topic<P, C>>, first: usize) -> bool {
        if self.left == 0 {
            return self.ends_at(&topic.name, 0);
        }
        let count = topic.partitions.len();
        let first = first.min(count);
        let end = count.min(first.saturating_add(self.left));
        self.left -= end - first;
        self.topics.push(PagedTopic::Found {
            topic: Arc::clone(topic),
            partitions: first..end,
        });
        if end < count {
            return self.ends_at(&topic.name, end);
        }
        true
    }

    fn add_missing(&mut self, name: &str) -> bool {
        if self.left == 0 {
            return self.ends_at(name, 0);
        }
        let code = match names::validate_topic_name(name) {
            Ok(()) => ErrorCode::UnknownTopicOrPartition,
            Err(refusal) => refusal.code,
        };
        self.topics.push(PagedTopic::Missing {
            name: name.into(),
            code,
        });
        true
    }

    fn ends_at(&mut self, name: &str, partition: usize) -> bool {
        self.next = Some(PageCursor {
            topic: name.into(),
            partition: i32::try_from(partition).unwrap_or(i32::MAX),
        });
        false
    }
}
