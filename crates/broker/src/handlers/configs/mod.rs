//! Configs of topics, brokers, groups, client metrics and loggers.

pub mod alter_configs;
mod damaged;
pub mod describe_configs;
pub mod list_config_resources;
mod resource;
