//! Listeners and connections: bytes in, answers out. Nothing here knows what a request means.

pub mod addresses;
pub mod bearer;
pub mod connection;
pub mod listener;
pub mod login;
pub mod login_rules;
pub mod out;
pub mod own;
pub mod tls;
pub mod transport;
