//! Producers with ids of their own.

pub mod describe_producers;
pub mod init_producer_id;
