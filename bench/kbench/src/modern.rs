//! Produce v13 and Fetch v17, as today's clients send them: topics by id, tagged fields, fetch sessions.

use crate::batch::Topic;
use crate::wire::Conn;
use rustka_wire::metadata_request::{MetadataRequest, MetadataRequestTopic};
use std::io;

pub const PRODUCE_V: i16 = 13;
pub const FETCH_V: i16 = 17;
const METADATA_V: i16 = 12;

/// The topic with its id, by Metadata v12.
pub fn topic(c: &mut Conn, name: &str) -> io::Result<Topic> {
    let request = MetadataRequest {
        topics: Some(vec![MetadataRequestTopic {
            name: Some(name.into()),
            ..Default::default()
        }]),
        allow_auto_topic_creation: false,
        ..Default::default()
    };
    let told = c.call_at(METADATA_V, &request)?;
    match told.topics.first() {
        Some(topic) if topic.error_code == 0 => Ok(Topic {
            name: name.to_string(),
            id: topic.topic_id,
        }),
        Some(topic) => Err(io::Error::other(format!(
            "Metadata of {name}: error {}",
            topic.error_code
        ))),
        None => Err(io::Error::other("Metadata names no topic")),
    }
}
