//! The requests that the floor answers.

use rustka_wire::{
    api_versions_request, consumer_group_heartbeat_request, create_topics_request, fetch_request,
    heartbeat_request, init_producer_id_request, list_offsets_request, metadata_request,
    produce_request,
};

pub const PRODUCE: i16 = produce_request::ProduceRequest::KEY;
pub const FETCH: i16 = fetch_request::FetchRequest::KEY;
pub const LIST_OFFSETS: i16 = list_offsets_request::ListOffsetsRequest::KEY;
pub const METADATA: i16 = metadata_request::MetadataRequest::KEY;
pub const HEARTBEAT: i16 = heartbeat_request::HeartbeatRequest::KEY;
pub const GROUP_HEARTBEAT: i16 =
    consumer_group_heartbeat_request::ConsumerGroupHeartbeatRequest::KEY;
pub const API_VERSIONS: i16 = api_versions_request::ApiVersionsRequest::KEY;
pub const CREATE_TOPICS: i16 = create_topics_request::CreateTopicsRequest::KEY;
pub const INIT_PRODUCER_ID: i16 = init_producer_id_request::InitProducerIdRequest::KEY;
