//! What everything else stands on: time, chance, counters, limits, hooks. Nothing here knows a topic or a request.

pub mod budget;
pub mod clock;
pub mod config;
pub mod fault;
pub mod features;
pub mod health;
pub mod heap;
pub mod hooks;
pub mod init;
pub mod join;
pub mod loggers;
pub mod machine;
pub mod metrics;
pub mod random;
pub mod rate;
pub mod request_log;
pub mod start;
pub mod timeline;
pub mod turns;
pub mod work;
