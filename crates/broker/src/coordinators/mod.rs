//! The machines that remember in a log of their own, with their locks, journals and deadlines.

pub mod groups;
