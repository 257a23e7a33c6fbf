//! Logins, users and rights.

pub mod sasl;
pub mod scram_users;
