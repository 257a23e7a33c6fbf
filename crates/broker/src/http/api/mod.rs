//! The questions that the API answers, one file per subject.

pub mod changes;
pub mod cleanup;
pub mod clients;
pub mod configs;
pub mod damaged;
pub mod groups;
pub mod groups_lag;
pub mod overview;
pub mod quotas;
pub mod records;
pub mod requests;
pub mod retention;
pub mod security;
pub mod session;
pub mod streams;
pub mod topics;
pub mod transactions;
pub mod writing;
