//! One file per API: from its versions to the broker's state and back.

pub mod alter_configs;
pub mod alter_replica_log_dirs;
pub mod api_versions;
pub mod create_partitions;
pub mod create_topics;
pub mod delete_records;
pub mod delete_topics;
pub mod describe_cluster;
pub mod describe_configs;
pub mod describe_log_dirs;
pub mod describe_producers;
pub mod describe_quorum;
pub mod describe_topic_partitions;
pub mod elect_leaders;
pub mod fetch;
pub mod init_producer_id;
pub mod list_config_resources;
pub mod list_offsets;
pub mod metadata;
mod metadata_all;
pub mod offset_for_leader_epoch;
pub mod produce;
pub mod reassignments;
pub mod unregister_broker;
pub mod update_features;
