//! One file per API: from its versions to the broker's state and back.

mod answer;
pub mod cluster;
pub mod configs;
pub mod fetch;
pub mod groups;
pub mod offsets;
pub mod produce;
pub mod security;
pub mod topics;
pub mod transactions;
