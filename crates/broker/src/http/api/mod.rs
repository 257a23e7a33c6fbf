//! The questions that the API answers, one file per subject.

pub mod changes;
pub mod configs;
pub mod groups;
pub mod groups_lag;
pub mod overview;
pub mod records;
pub mod retention;
pub mod session;
pub mod streams;
pub mod topics;
pub mod writing;
