//! Who a client is, what it may do and how much of it: logins, ACLs, quotas. Decisions only; no socket, file or clock.

pub mod acl;
pub mod authorizer;
pub mod bearer;
pub mod facts;
pub mod filter;
pub mod jaas;
pub mod mapping;
pub mod plain;
pub mod quota;
pub mod sasl;
pub mod scram;
pub mod tokens;
pub mod users;
