//! Logins, users and rights.

pub mod acls;
pub mod quotas;
pub mod sasl;
pub mod scram_users;
pub mod tokens;
