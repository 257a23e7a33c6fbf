//! The broker and the cluster of one node: versions, features, quorum, log directories, clients' metrics.

pub mod alter_replica_log_dirs;
pub mod api_versions;
pub mod describe_cluster;
pub mod describe_log_dirs;
pub mod describe_quorum;
pub mod elect_leaders;
pub mod reassignments;
pub mod telemetry;
pub mod unregister_broker;
pub mod update_features;
