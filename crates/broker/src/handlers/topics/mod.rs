//! Topics: what there is, creating, extending, emptying and deleting them.

pub mod create_partitions;
pub mod create_topics;
pub mod delete_records;
pub mod delete_topics;
pub mod describe_topic_partitions;
pub mod metadata;
mod metadata_all;
mod placed;
