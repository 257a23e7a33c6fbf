//! What administrators ask: thin calls on [`crate::Client`] that answer in Kafka's own structs. Where one request is about
//! many things and the broker refuses one of them, that one's place in the answer is an error; the rest is done.

mod acls;
mod cluster;
mod configs;
mod groups;
mod quotas;
mod topics;
mod transactions;
mod users;

pub use configs::Resource;
pub use groups::{Committed, GroupDescription, MemberDescription};
pub use quotas::{QuotaEntity, QuotaMatch};
pub use transactions::TransactionFilter;
pub use users::{NewPassword, ScramChange};

/// How long a broker may take to complete what it was asked for.
const TIMEOUT_MS: i32 = 30_000;
/// Whatever version both sides know.
const ANY: (i16, i16) = (0, i16::MAX);
